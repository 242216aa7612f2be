// What clients send, made up from its parts: enough for a story about sockets.
import { bytesOf, clientHello, dnsMessage, dnsName, dnsQuestion, dnsRecord, records, serverName } from "./protocols-bytes.ts";

export const hello = (host: string | undefined): Uint8Array =>
  records(clientHello(host === undefined ? undefined : [serverName(host)]));

export const dnsQuery = (id: number, name: string, type: number): Uint8Array =>
  dnsMessage({ id, questions: [dnsQuestion(dnsName(name), type)] });

export const dnsResponse = (id: number, name: string, address: string): Uint8Array =>
  dnsMessage({
    id,
    flags: 0x8180,
    questions: [dnsQuestion(dnsName(name))],
    answers: [dnsRecord(dnsName(name), 1, bytesOf(...address.split(".").map(Number)))],
  });
