// The npm `age-encryption` client: keys, encryption and decryption, for the tests beside this file.
//
// usage: node age_client.mjs keys | encrypt RECIPIENT IN OUT | armor RECIPIENT IN OUT | decrypt IDENTITY IN OUT
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.CASEMATE_INTEROP_DIR}/package.json`);
const age = await import(pathToFileURL(require.resolve("age-encryption")));

const [command, key, input, output] = process.argv.slice(2);
switch (command) {
  case "keys": {
    const identity = await age.generateHybridIdentity();
    console.log(JSON.stringify({ identity, recipient: await age.identityToRecipient(identity) }));
    break;
  }
  case "encrypt":
  case "armor": {
    const encrypter = new age.Encrypter();
    encrypter.addRecipient(key);
    const file = await encrypter.encrypt(readFileSync(input));
    writeFileSync(output, command === "armor" ? age.armor.encode(file) : file);
    break;
  }
  case "decrypt": {
    const decrypter = new age.Decrypter();
    decrypter.addIdentity(key);
    let file = readFileSync(input);
    if (file.subarray(0, 5).toString() === "-----") file = age.armor.decode(file.toString());
    writeFileSync(output, await decrypter.decrypt(file));
    break;
  }
  default:
    process.exit(2);
}
