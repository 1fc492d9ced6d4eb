/**
 * Where Chromium is: this suite brings none of its own.
 */
import { accessSync, constants } from "node:fs"
import { delimiter, join } from "node:path"

const names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"]

const isExecutable = (file: string) => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export const findChromium = (): string => {
  const given = process.env["CHROMIUM"]
  if (given !== undefined && given !== "") {
    if (isExecutable(given)) return given
    throw new Error(`CHROMIUM=${given} is no program that can be run.`)
  }
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/bin", "/usr/local/bin", "/snap/bin"]
  const candidates = [
    ...folders.flatMap((folder) => names.map((name) => join(folder, name))),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium"
  ]
  const found = candidates.find(isExecutable)
  if (found !== undefined) return found
  throw new Error(
    "The browser tests need Chromium, and there is none on this machine. Install it (Debian, Ubuntu: apt-get install " +
      "chromium; macOS: brew install --cask chromium; anywhere: npx playwright-core install chromium) or name the " +
      "program in the environment variable CHROMIUM."
  )
}

export const flags = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--autoplay-policy=no-user-gesture-required"
]
