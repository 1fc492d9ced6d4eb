import { defineConfig, mergeConfig } from "vitest/config"
import { MatrixReporter } from "./test/browser/matrixReporter.ts"
import base from "./vitest.config.ts"

const config = mergeConfig(
  base,
  defineConfig({
    test: {
      globalSetup: ["test/browser/setup.ts"],
      // One test after the other in a file, and both files at a time also where that is half of the cores.
      sequence: { concurrent: false },
      maxWorkers: 2,
      testTimeout: 60_000,
      hookTimeout: 60_000,
      reporters: ["default", new MatrixReporter()]
    }
  })
)

// Not merged: these would be added to those of the other tests.
config.test.include = ["test/browser/*.browser.ts"]
config.test.typecheck = { enabled: false }

export default config
