import { defineConfig } from "vitest/config"

const source = (file: string) => new URL(`./src/${file}`, import.meta.url).pathname

export default defineConfig({
  // Tests import the package by its public names, as users do.
  resolve: {
    alias: [
      { find: /^effect-sora-rpc$/, replacement: source("index.ts") },
      { find: /^effect-sora-rpc\/browser$/, replacement: source("browser/index.ts") },
      { find: /^effect-sora-rpc\/rpc$/, replacement: source("rpc/index.ts") },
      { find: /^effect-sora-rpc\/cluster$/, replacement: source("cluster/index.ts") },
      { find: /^effect-sora-rpc\/node$/, replacement: source("node/index.ts") },
      { find: /^effect-sora-rpc\/server$/, replacement: source("server/index.ts") },
      { find: /^effect-sora-rpc\/ui$/, replacement: source("ui/index.ts") }
    ]
  },
  test: {
    include: ["test/**/*.test.ts", "examples/**/*.test.ts"],
    sequence: { concurrent: true },
    // Many DTLS handshakes at once on few cores: the limit is for what hangs, not for what is slow.
    testTimeout: 20_000,
    typecheck: { enabled: true, include: ["test/**/*.test-d.ts"] },
    coverage: { provider: "v8", include: ["src/**/*.ts"] }
  }
})
