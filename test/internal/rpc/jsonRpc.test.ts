import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as JsonRpc from "../../../src/internal/rpc/jsonRpc.ts"
import { plain, survivesEngine } from "../../utils/json.ts"

/** The vectors of `sora-protocol.md`, Appendix B; `J` stands for `"jsonrpc":"2.0"`. */
const frame = (short: string) => short.replace(/^\{J/, "{\"jsonrpc\":\"2.0\"")

/** The notation of the appendix: OK(1), ERR(1), V(1), V(-), OK(-), X. */
const verdict = (response: JsonRpc.Response): string => {
  switch (response._tag) {
    case "Success":
      return `OK(${response.id})`
    case "Failure":
      return `ERR(${response.id})`
    case "Violation":
      return `V(${response.id ?? "-"})`
    case "Uncorrelated":
      return "OK(-)"
    case "NotJson":
      return "X"
  }
}

const error = "\"error\":{\"code\":-32000,\"message\":\"m\"}"

const vectors: Record<string, ReadonlyArray<string>> = {
  "OK(1)": [
    ...["{\"a\":1}", "[1,2,3]", "\"text\"", "42", "true", "null"].map((result) => `{J,"id":1,"result":${result}}`),
    "{J,\"id\":1,\"result\":1,\"extra\":2}",
    "{J,\"id\":1,\"result\":1,\"extra\":2,\"extra\":3}",
    "{\"result\":1,\"id\":1,\"jsonrpc\":\"2.0\"}",
    " { \"jsonrpc\" : \"2.0\" ,\n\t\"id\" : 1 , \"result\" : { \"id\" : 7 , \"result\" : [ \"}\" , \"\\\"{\" ] } } ",
    "{J,\"id\":1,\"result\":\"id\"}",
    "{J,\"id\":1,\"result\":\"\\u0069d\"}",
    "{J,\"\\u0069d\":1,\"result\":1}",
    "{\"json\\u0072pc\":\"2.0\",\"id\":1,\"result\":1}",
    "{J,\"id\":1,\"result\":{\"error\":1,\"jsonrpc\":1}}"
  ],
  "OK(0)": ["{J,\"id\":0,\"result\":null}"],
  "OK(18446744073709551615)": ["{J,\"id\":18446744073709551615,\"result\":null}"],
  "OK(9007199254740993)": ["{J,\"id\":9007199254740993,\"result\":null}"],
  "ERR(1)": [
    `{J,"id":1,${error}}`,
    ...["null", "42", "{\"code\":1}", "[1]"].map((data) =>
      `{J,"id":1,"error":{"code":-32000,"message":"m","data":${data}}}`
    ),
    "{J,\"id\":1,\"error\":{\"code\":-2147483648,\"message\":\"m\"}}",
    "{J,\"id\":1,\"error\":{\"code\":2147483647,\"message\":\"m\"}}",
    "{J,\"id\":1,\"error\":{\"code\":1,\"message\":\"m\",\"extra\":1,\"extra\":2}}"
  ],
  "V(1)": [
    ...["null", "2.0", "\"2.1\"", "\"2.0 \"", "\" 2.0\"", "\"2.00\"", "\"2.0x\""].map((version) =>
      `{"jsonrpc":${version},"id":1,"result":1}`
    ),
    "{\"id\":1,\"result\":1}",
    "{J,\"id\":1}",
    `{J,"id":1,"result":null,${error}}`,
    ...["null", "[1]", "\"x\"", "42", "true"].map((error) => `{J,"id":1,"error":${error}}`),
    "{J,\"id\":1,\"error\":{\"message\":\"m\"}}",
    ...["\"1\"", "1.5", "1e3", "1.0", "2147483648", "-2147483649", "null"].map((code) =>
      `{J,"id":1,"error":{"code":${code},"message":"m"}}`
    ),
    "{J,\"id\":1,\"error\":{\"code\":1}}",
    "{J,\"id\":1,\"error\":{\"code\":1,\"message\":42}}",
    "{J,\"id\":1,\"error\":{\"code\":1,\"code\":1,\"message\":\"m\"}}",
    "{J,\"id\":1,\"error\":{\"code\":1,\"message\":\"m\",\"message\":\"m\"}}",
    "{J,\"id\":1,\"error\":{\"code\":1,\"message\":\"m\",\"data\":1,\"data\":1}}",
    "{J,\"id\":1,\"error\":{\"code\":1,\"\\u0063ode\":1,\"message\":\"m\"}}",
    "{J,\"id\":1,\"jsonrpc\":\"2.0\",\"result\":1}",
    "{J,\"id\":1,\"result\":1,\"result\":1}",
    "{J,\"id\":1,\"result\":1,\"\\u0072esult\":1}",
    `{J,"id":1,${error},${error}}`
  ],
  "V(-)": [
    "{J,\"result\":1,\"result\":1}",
    "{J}",
    "{J,\"id\":1,\"id\":1}",
    "null",
    "true",
    "42",
    "\"string\"",
    "[{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":1}]"
  ],
  "OK(-)": [
    "{J,\"id\":1,\"id\":1,\"result\":1}",
    "{J,\"id\":1,\"id\":2,\"result\":1}",
    "{J,\"id\":1,\"\\u0069d\":1,\"result\":1}",
    "{J,\"result\":1}",
    ...["null", "\"1\"", "-1", "1.5", "1.0", "1e2", "1E0", "-0", "18446744073709551616"].map((id) =>
      `{J,"id":${id},"result":1}`
    ),
    `{J,${error}}`
  ],
  X: ["not json", "{J,\"id\":1,\"result\":1,}", "", "{"]
}

describe("decodeResponse", () => {
  for (const [expected, frames] of Object.entries(vectors)) {
    for (const short of frames) {
      it(`${expected} for ${short}`, () => {
        assert.strictEqual(verdict(JsonRpc.decodeResponse(frame(short))), expected)
      })
    }
  }

  it("keeps absent and null data apart", () => {
    const absent = JsonRpc.decodeResponse(frame(`{J,"id":1,${error}}`))
    assert.isFalse("data" in absent)
    const present = JsonRpc.decodeResponse(frame("{J,\"id\":1,\"error\":{\"code\":1,\"message\":\"m\",\"data\":null}}"))
    assert.isTrue(present._tag === "Failure" && present.data === null)
  })

  it.prop("never throws, whatever the text", [Schema.String], ([text]) => {
    verdict(JsonRpc.decodeResponse(text))
    return true
  })

  it.prop("reads back every result", [Schema.Natural, Schema.Json], ([id, result]) => {
    if (!survivesEngine(result)) return true
    const response = JsonRpc.decodeResponse(JSON.stringify({ jsonrpc: "2.0", id, result }))
    assert.deepStrictEqual(response, { _tag: "Success", id, result: plain(result) })
    return true
  })
})

describe("scanMembers", () => {
  // Held against the object itself: V8's JSON.parse mixes up some names that are one escaped control character.
  it.prop(
    "finds every member that is asked for, in the order of the text",
    [Schema.Record(Schema.String, Schema.Json)],
    ([object]) => {
      for (const text of [JSON.stringify(object), JSON.stringify(object, null, 2)]) {
        const members = JsonRpc.scanMembers(text, Object.keys(object))
        assert.deepStrictEqual(members.map(({ name }) => name), Object.keys(object))
        if (text.startsWith("{\n")) continue
        for (const { name, source } of members) assert.strictEqual(source, JSON.stringify(object[name]))
      }
      return true
    }
  )
})

describe("requestEncoder", () => {
  it("leaves out what is undefined", () => {
    assert.strictEqual(JsonRpc.requestEncoder("m")(1, undefined), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"m\"}")
    assert.strictEqual(
      JsonRpc.requestEncoder("m")(undefined, { a: 1 }),
      "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\":{\"a\":1}}"
    )
  })
})
