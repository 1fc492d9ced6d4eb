/**
 * Which names are those of this machine.
 */
import { isIPv4 } from "node:net"

/**
 * Whether a host, as it stands in a URL or as it is listened on, is the loopback interface.
 *
 * @internal
 */
export const isLoopbackHost = (host: string): boolean =>
  host === "localhost" || host.endsWith(".localhost") || host === "::1" || host === "[::1]" ||
  isIPv4(host) && host.startsWith("127.")
