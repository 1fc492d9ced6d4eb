/**
 * Prints which client passed under which settings, at the end of the run.
 */
import type { Reporter, TestCase, TestModule } from "vitest/node"

declare module "vitest" {
  interface TaskMeta {
    /** The cell of the matrix that a test is. */
    matrix?: { readonly client: string; readonly compress: boolean; readonly ignore: boolean }
  }
}

const columns = [
  { compress: true, ignore: false, title: "zlib, WebSocket kept" },
  { compress: true, ignore: true, title: "zlib, WebSocket closed" },
  { compress: false, ignore: false, title: "plain, WebSocket kept" },
  { compress: false, ignore: true, title: "plain, WebSocket closed" }
]

export class MatrixReporter implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>) {
    const cells = modules.flatMap((module) => Array.from(module.children.allTests()))
      .filter((test) => test.meta().matrix !== undefined)
    const clients = Array.from(new Set(cells.map((test) => test.meta().matrix!.client)))
    if (clients.length === 0) return
    const stateOf = (client: string, { compress, ignore }: typeof columns[number]) => {
      const cell = cells.find((test: TestCase) => {
        const { matrix } = test.meta()
        return matrix?.client === client && matrix.compress === compress && matrix.ignore === ignore
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
