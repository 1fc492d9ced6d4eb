/**
 * Responses that are none, for the fault `corrupt`: those of `sora-protocol.md`
 * Appendix B that are not accepted, and bytes that are no text.
 */

const Code = "\"code\":-32000"
const Message = "\"message\":\"FAULT-INJECTED\""

/**
 * What stands in for the response to the request with this id, which is JSON
 * text, as is the response itself.
 *
 * @internal
 */
export const malformed: ReadonlyArray<(id: string, response: string) => string | Uint8Array<ArrayBuffer>> = [
  (id) => `{"jsonrpc":"2.0","id":${id},"result":1,"error":{${Code},${Message}}}`,
  (id) => `{"jsonrpc":"2.0","id":${id}}`,
  ...["", "\"jsonrpc\":null,", "\"jsonrpc\":2.0,", "\"jsonrpc\":\"2.1\",", "\"jsonrpc\":\"2.0 \","].map(
    (version) => (id: string) => `{${version}"id":${id},"result":1}`
  ),
  ...[
    "null",
    "[1]",
    "\"text\"",
    `{${Message}}`,
    `{"code":"1",${Message}}`,
    `{"code":1.5,${Message}}`,
    `{"code":1e3,${Message}}`,
    `{"code":2147483648,${Message}}`,
    `{${Code}}`,
    `{${Code},"message":42}`,
    `{${Code},"\\u0063ode":1,${Message}}`,
    `{${Code},${Message},${Message}}`,
    `{${Code},${Message},"data":1,"data":1}`
  ].map((error) => (id: string) => `{"jsonrpc":"2.0","id":${id},"error":${error}}`),
  (id) => `{"jsonrpc":"2.0","jsonrpc":"2.0","id":${id},"result":1}`,
  (id) => `{"jsonrpc":"2.0","id":${id},"result":1,"\\u0072esult":1}`,
  (id) => `{"jsonrpc":"2.0","id":${id},"\\u0069d":${id},"result":1}`,
  ...["", "\"id\":null,", "\"id\":\"1\",", "\"id\":-1,", "\"id\":1.5,", "\"id\":1e2,", "\"id\":18446744073709551616,"]
    .map((id) => () => `{"jsonrpc":"2.0",${id}"result":1}`),
  ...["null", "true", "42", "\"text\"", "[]"].map((value) => () => value),
  (_, response) => `[${response}]`,
  (_, response) => response.slice(0, response.length >> 1),
  (_, response) => `${response.slice(0, -1)},}`,
  () => "not json",
  // No UTF-8, no zlib, and a zlib stream that breaks off.
  () => Uint8Array.of(0xff, 0xfe, 0x00, 0xc3, 0x28),
  () => Uint8Array.of(0x78, 0x9c, 0xff, 0x00),
  () => Uint8Array.of(0x78)
]
