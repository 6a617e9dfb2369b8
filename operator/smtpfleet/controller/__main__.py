"""``python -m smtpfleet.controller``: the operator."""

import logging
import os
import sys

from smtpfleet.controller.process import main

code = main(os.environ)
logging.shutdown()
sys.stdout.flush()
# At once: a thread of the watches that does not end must not keep the process, and the Lease is released.
os._exit(code)
