// The hosts that one connection to an HTTP proxy is used for: each plain request to a proxy names its own (RFC 9112, 3.2.2), and clients
// reuse the connection for whoever comes next, several requests in one write too. The first-bytes recogniser has judged the first one.
//
// Bodies are not followed by their lengths. A request line counts where one can be: first in a write that does not continue a head, or
// behind an empty line.
import { plainText } from "./host.ts";
import { type ProxyTarget, requestToProxy } from "./http.ts";

/** Longer request lines are not read; what is behind them is. */
const lineMax = 8192;
const lineFeed = 0x0a;

export interface ProxiedRequests {
  /** The next bytes that the client sent; in the order of the requests. */
  push(bytes: Uint8Array): ProxyTarget[];
}

export function createProxiedRequests(): ProxiedRequests {
  let inHead = false;
  /** A line that the last write has cut: one of a head, or what may become a request line. */
  let part = "";

  return {
    push(bytes) {
      const found: ProxyTarget[] = [];
      let canBegin = true;
      let from = 0;
      for (let at = bytes.indexOf(lineFeed); at >= 0; at = bytes.indexOf(lineFeed, from)) {
        const text = extended(part, bytes.subarray(from, at)).replace(/\r$/, "");
        part = "";
        from = at + 1;
        const target = !inHead && canBegin ? requestToProxy(text) : undefined;
        if (target) found.push(target);
        inHead = target !== undefined || (inHead && text !== "");
        canBegin = text === "";
      }
      part = extended(part, bytes.subarray(from));
      if (!inHead && !(canBegin && /^[A-Z]{1,24}($| )/.test(part))) part = "";
      return found;
    },
  };
}

/** One byte more than `lineMax` says that a line is too long. */
function extended(part: string, bytes: Uint8Array): string {
  return part + plainText(bytes.subarray(0, lineMax + 1 - part.length));
}
