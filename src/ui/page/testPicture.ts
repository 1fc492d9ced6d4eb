/**
 * A picture that moves, for whoever has no camera: what is lost of it in a lower
 * layer can be seen.
 */
const Width = 1280
const Height = 720

export const testPicture = (): { readonly media: MediaStream; readonly stop: () => void } => {
  const canvas = document.createElement("canvas")
  Object.assign(canvas, { width: Width, height: Height })
  const context = canvas.getContext("2d")!
  const began = performance.now()
  const draw = () => {
    const passed = (performance.now() - began) / 1000
    for (let i = 0; i < 8; i++) {
      context.fillStyle = `hsl(${i * 45 + passed * 20} 70% 50%)`
      context.fillRect((i * Width) / 8, 0, Width / 8, Height)
    }
    context.fillStyle = "#000"
    // Fine lines, which only the largest layer keeps apart.
    for (let x = 0; x < Width / 2; x += 4) context.fillRect(x, Height - 120, 2, 120)
    context.beginPath()
    context.arc(Width / 2 + 400 * Math.cos(passed), Height / 2 - 40, 60, 0, 2 * Math.PI)
    context.fillStyle = "#fff"
    context.fill()
    context.font = "bold 120px monospace"
    context.textAlign = "center"
    context.fillText(passed.toFixed(1), Width / 2, Height / 2 + 160)
  }
  draw()
  const timer = setInterval(draw, 1000 / 20)
  const media = canvas.captureStream(20)
  return {
    media,
    stop() {
      clearInterval(timer)
      for (const track of media.getTracks()) track.stop()
    }
  }
}
