// Submits one message with net/smtp, as its documentation does it: settings as JSON on standard input.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"os"
)

type submission struct {
	Host     string   `json:"host"`
	Port     int      `json:"port"`
	Security string   `json:"security"`
	CA       string   `json:"ca"`
	User     string   `json:"user"`
	Password string   `json:"password"`
	Sender   string   `json:"sender"`
	To       []string `json:"recipients"`
	Message  string   `json:"message"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var s submission
	if err := json.NewDecoder(os.Stdin).Decode(&s); err != nil {
		return err
	}
	content, err := os.ReadFile(s.Message)
	if err != nil {
		return err
	}
	client, err := connect(s)
	if err != nil {
		return err
	}
	defer client.Close()
	if s.User != "" {
		if err := client.Auth(smtp.PlainAuth("", s.User, s.Password, s.Host)); err != nil {
			return err
		}
	}
	if err := client.Mail(s.Sender); err != nil {
		return err
	}
	for _, recipient := range s.To {
		if err := client.Rcpt(recipient); err != nil {
			return err
		}
	}
	writer, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := writer.Write(content); err != nil {
		return err
	}
	if err := writer.Close(); err != nil {
		return err
	}
	return client.Quit()
}

func connect(s submission) (*smtp.Client, error) {
	address := net.JoinHostPort(s.Host, fmt.Sprint(s.Port))
	if s.Security == "clear" {
		return smtp.Dial(address)
	}
	pem, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in " + s.CA)
	}
	settings := &tls.Config{ServerName: s.Host, RootCAs: roots}
	if s.Security == "implicit" {
		connection, err := tls.Dial("tcp", address, settings)
		if err != nil {
			return nil, err
		}
		return smtp.NewClient(connection, s.Host)
	}
	client, err := smtp.Dial(address)
	if err != nil {
		return nil, err
	}
	return client, client.StartTLS(settings)
}
