/**
 * Once for a run: bundles the pages, serves them on localhost (a secure context), and starts one Chromium that all
 * test files share.
 */
import { chromium } from "playwright-core"
import type { TestProject } from "vitest/node"
import { findChromium, flags } from "./chromium.ts"
import { servePages } from "./servePages.ts"

declare module "vitest" {
  interface ProvidedContext {
    readonly pages: string
    readonly browser: string
  }
}

const page = (name: string) => new URL(`./pages/${name}.ts`, import.meta.url)

export default async function setup(project: TestProject) {
  const executablePath = findChromium()
  const pages = await servePages(["ours", "sdk-2025", "sdk-2026", "peer"].map(page))
  const browser = await chromium.launchServer({ executablePath, args: flags, headless: true }).catch((error) => {
    pages.close()
    throw error
  })
  project.provide("pages", pages.url)
  project.provide("browser", browser.wsEndpoint())
  return async () => {
    await browser.close()
    pages.close()
  }
}
