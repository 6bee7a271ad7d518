// Generates a few tokens greedily with llama.cpp, which maps the file: node generate.mjs MODEL.gguf
import { getLlama } from "node-llama-cpp";

const llama = await getLlama({ gpu: false, build: "never", logLevel: "error" });
const model = await llama.loadModel({ modelPath: process.argv[2], useMmap: true });
const context = await model.createContext({ contextSize: 128 });
const tokens = [];
for await (const token of context.getSequence().evaluate(model.tokenize("hello world"), { temperature: 0 })) {
  tokens.push(token);
  if (tokens.length === 12) break;
}
console.log(JSON.stringify(tokens));
process.exit(0);
