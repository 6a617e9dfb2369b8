// Submits one message with Nodemailer: settings as JSON on standard input.
import { readFileSync } from 'node:fs';
import nodemailer from 'nodemailer';

const s = JSON.parse(readFileSync(0, 'utf8'));
const transport = nodemailer.createTransport({
  host: s.host,
  port: s.port,
  secure: s.security === 'implicit',
  requireTLS: s.security === 'starttls',
  ignoreTLS: s.security === 'clear',
  auth: s.user ? { user: s.user, pass: s.password } : undefined,
  authMethod: s.mechanism || undefined,
  tls: s.ca ? { ca: readFileSync(s.ca) } : undefined,
});
await transport.sendMail({
  envelope: { from: s.sender, to: s.recipients, use8BitMime: s.feature === '8BITMIME' },
  raw: readFileSync(s.message),
  dsn: s.feature === 'DSN' ? { id: 'conformance', return: 'headers', notify: ['success', 'failure'] } : undefined,
});
transport.close();
