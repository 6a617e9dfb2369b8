"""Mail accounting: what was acknowledged to a client must arrive, and nothing else may.

A queue that acknowledges mail is judged as Jepsen's ``total-queue`` judges any queue: by comparing what went in with
what came out after everything has drained, never by whether its parts look healthy. Three instruments do that here:

* ``mailcheck.generator`` and ``mailcheck.closed_loop`` hand in mail and note what a client without any retry was told,
* ``mailcheck.sink`` receives mail as the last hop and records every arrival,
* ``mailcheck.checker`` compares the two, without any I/O.

Generator and sink speak SMTP by themselves: they must know whether the final dot has left the process, and must cost
so little CPU that they do not disturb what they measure. Only the standard library is needed, as the sink also runs in
a pod from an image without any package.
"""
