module smtpfleet.io/conformance

go 1.21
