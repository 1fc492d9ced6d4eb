/**
 * Checks the documents: that each relative link leads to a file and each
 * anchor to a heading, that each section of the protocol notes that a
 * docstring names is there, that the README in Japanese has the programs and
 * commands of the English one, and that the page in docs is the one of examples.
 *
 *   npm run check:docs                # of the repository
 *   npm run check:docs -- <folder>    # of a package that is unpacked or installed there
 */
import { existsSync, globSync, readFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"

const root = resolve(process.argv[2] ?? join(import.meta.dirname, ".."))
const read = (path: string) => readFileSync(join(root, path), "utf8")
const problems: Array<string> = []

/** Without what stands in code, where a bracket is no link. */
const prose = (text: string) => text.replaceAll(/^```[^]*?^```$/gm, "").replaceAll(/`[^`\n]*`/g, "`")

/** As GitHub makes them of headings. */
const anchors = (text: string): ReadonlySet<string> => {
  const seen = new Map<string, number>()
  return new Set(
    Array.from(text.replaceAll(/^```[^]*?^```$/gm, "").matchAll(/^#+ (.+)$/gm), ([, heading]) => {
      const slug = heading!
        .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\p{M}\p{Pc} -]/gu, "")
        .replaceAll(" ", "-")
      const times = seen.get(slug) ?? 0
      seen.set(slug, times + 1)
      return times === 0 ? slug : `${slug}-${times}`
    })
  )
}

const documents = globSync("{*.md,docs/**/*.md,examples/**/*.md}", {
  cwd: root,
  exclude: (path) => path.includes("node_modules")
})

let links = 0
for (const document of documents) {
  const text = prose(read(document))
  const targets = [
    ...Array.from(text.matchAll(/\]\(([^)\s]+)\)/g), ([, target]) => target!),
    ...Array.from(text.matchAll(/(?:src|srcset|href)="([^"]+)"/g), ([, target]) => target!)
  ]
  for (const target of targets) {
    if (/^[a-z]+:/.test(target)) continue
    links++
    const [path = "", anchor] = target.split("#")
    const file = path === "" ? document : join(dirname(document), path)
    if (!existsSync(join(root, file))) problems.push(`${document}: ${target} leads to no file`)
    else if (anchor !== undefined && !anchors(read(file)).has(anchor)) {
      problems.push(`${document}: ${target} leads to no heading`)
    }
  }
}

const sections = new Set(
  Array.from(read("docs/sora-protocol.md").matchAll(/^#+ (?:Appendix )?(\d+(?:\.\d+)?|[A-Z])[.:]? /gm), ([, n]) => n!)
)
let named = 0
// werift's insides name sections of RFCs alone.
for (const file of globSync("src/**/*.ts", { cwd: root, exclude: (path) => path.endsWith("werift") })) {
  const text = read(file).replaceAll(/\s*\n\s*(?:\*|\/\/)?\s*/g, " ")
  for (const [, list] of text.matchAll(/(?<!RFC \d{4}, )sections? ((?:\d+(?:\.\d+)?(?:, | and | to )?)+)/g)) {
    for (const section of list!.match(/\d+(?:\.\d+)?/g) ?? []) {
      named++
      if (!sections.has(section)) problems.push(`${file}: the protocol notes have no section ${section}`)
    }
  }
}

/** Programs and commands; comments are in the reader's language. */
const blocks = (path: string) =>
  Array.from(
    read(path).matchAll(/^```(?:ts|sh)\n([^]*?)^```$/gm),
    ([, code]) => code!.replaceAll(/\s*(?:\/\/|#) .*$/gm, "").replaceAll(/^\s*\n/gm, "")
  )
const [english, japanese] = [blocks("README.md"), blocks("README.ja.md")]
if (english.length !== japanese.length) {
  problems.push(`README.md has ${english.length} programs, README.ja.md ${japanese.length}`)
}
english.forEach((code, i) => {
  if (i < japanese.length && code !== japanese[i]) {
    problems.push(`README.ja.md: program ${i + 1} is not that of README.md, which begins ${code.split("\n")[0]}`)
  }
})

/** The code, without the comment that it begins with. */
const page = read("examples/page/page.ts").replace(/^\/\*\*[^]*?\*\/\n/, "")
if (!read("docs/connecting.md").includes(`\`\`\`ts\n${page}\`\`\`\n`)) {
  problems.push("docs/connecting.md: its program for a page is not that of examples/page/page.ts")
}

if (problems.length > 0) {
  process.stderr.write(`${problems.join("\n")}\n`)
  process.exit(1)
}
process.stdout.write(
  `${documents.length} documents, ${links} links, ${named} sections named, ${english.length} programs in both languages\n`
)
