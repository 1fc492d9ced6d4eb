/**
 * Prints which client passed under which settings, at the end of the run.
 */
import type { Reporter, TestCase, TestModule } from "vitest/node"

/** What the scenario runs under. */
export interface Settings {
  /** Whether the channels are compressed. */
  readonly compress: boolean
  /** Whether the WebSocket is closed after the switch. */
  readonly ignore: boolean
  /** Whether the metadata extension is on. */
  readonly extension: boolean
}

declare module "vitest" {
  interface TaskMeta {
    /** The cell of the matrix that a test is. */
    matrix?: Settings & { readonly client: string }
  }
}

const columns = [
  { compress: true, ignore: false, extension: true, title: "zlib, WebSocket kept" },
  { compress: true, ignore: true, extension: true, title: "zlib, WebSocket closed" },
  { compress: false, ignore: false, extension: true, title: "plain, WebSocket kept" },
  { compress: false, ignore: true, extension: true, title: "plain, WebSocket closed" },
  { compress: true, ignore: true, extension: false, title: "zlib, WebSocket closed, no metadata extension" },
  { compress: false, ignore: false, extension: false, title: "plain, WebSocket kept, no metadata extension" }
]

export class MatrixReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>) {
    const cells = modules.flatMap((module) => Array.from(module.children.allTests()))
      .filter((test) => test.meta().matrix !== undefined)
    const clients = Array.from(new Set(cells.map((test) => test.meta().matrix!.client)))
    if (clients.length === 0) return
    const stateOf = (client: string, column: Settings) => {
      const cell = cells.find((test: TestCase) => {
        const { matrix } = test.meta()
        return matrix?.client === client && matrix.compress === column.compress && matrix.ignore === column.ignore &&
          matrix.extension === column.extension
      })
      return cell?.result().state ?? "–"
    }
    const rows = [
      ["Client", ...columns.map(({ title }) => title)],
      ["---", ...columns.map(() => "---")],
      ...clients.map((client) => [client, ...columns.map((column) => stateOf(client, column))])
    ]
    process.stdout.write(`\n${rows.map((row) => `| ${row.join(" | ")} |`).join("\n")}\n\n`)
  }
}
