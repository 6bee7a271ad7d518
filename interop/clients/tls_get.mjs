// GETs each path over TLS 1.3 with Node's own TLS and prints what came back as JSON: `tls_get.mjs ORIGIN ROOT PATH…`.
// An empty ROOT means that only Node's built-in roots are trusted.
import https from "node:https";
import { readFileSync } from "node:fs";

const [origin, root, ...paths] = process.argv.slice(2);
const agent = new https.Agent({ ca: root ? readFileSync(root) : undefined, minVersion: "TLSv1.3" });

const get = (path) =>
  new Promise((resolve, reject) => {
    const request = https.get(new URL(path, origin), { agent, timeout: 10_000 }, (response) => {
      const { socket } = response;
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode,
          type: response.headers["content-type"],
          body: Buffer.concat(chunks).toString("base64"),
          protocol: socket.getProtocol(),
          cipher: socket.getCipher().standardName,
          group: socket.getEphemeralKeyInfo(),
        }),
      );
    });
    request.on("error", reject);
  });

try {
  console.log(JSON.stringify(await Promise.all(paths.map(get))));
} catch (error) {
  console.log(JSON.stringify({ code: error.code, message: error.message }));
  process.exit(1);
}
