"""smtpfleet: fleets of SMTP relays on Kubernetes that lose no acknowledged message."""
