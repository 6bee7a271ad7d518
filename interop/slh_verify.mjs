// Verifies an SLH-DSA signature with `@noble/post-quantum`; exits 0 if it holds and 1 if not.
//
// usage: node slh_verify.mjs sha2_192s|sha2_256s PUBLIC-KEY MESSAGE CONTEXT SIGNATURE, the last four in hex
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.CASEMATE_INTEROP_DIR}/package.json`);
const sets = await import(pathToFileURL(require.resolve("@noble/post-quantum/slh-dsa.js")));

const [set, ...hex] = process.argv.slice(2);
const [key, message, context, signature] = hex.map((text) => Uint8Array.from(Buffer.from(text, "hex")));
const holds = sets[`slh_dsa_${set}`].verify(signature, message, key, { context });
process.exit(holds ? 0 : 1);
