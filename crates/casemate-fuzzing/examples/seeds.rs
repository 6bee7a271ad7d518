//! Writes the seed corpus into the folder given: `cargo run -p casemate-fuzzing --example seeds --
//! fuzz/corpus`.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::too_many_lines,
    reason = "a list of seeds, in a tool that stops on the first failure"
)]

use std::{env, fs, path::Path, sync::Mutex};

use casemate_age::{Encoding, encrypt, recipient_to_text};
use casemate_crypto::{
    encoding::{KeyId, PrivateKey},
    kem::KemPrivateKey,
    signature::HttpSigningKey,
    suite,
};
use casemate_fuzzing::{age_identity, recipient, signer};
use casemate_message::{
    RecordId, Request, RequestId, RequestMark, Response,
    keydoc::{self, Statement, Succession},
    ohttp::GatewayKey,
    sign,
};
use casemate_seal::{
    Artifact, ArtifactId, Delegation, HashAlgorithm, ListSigner, Private, SealOptions, SegmentSize,
    folder::{FileEntry, FolderId, Manifest, PublicEntry, PublicList, RelativePath},
    seal,
};

fn main() {
    let folder = env::args().nth(1).unwrap();
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = Path::new(&folder).join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    };
    let signed = casemate_fuzzing::job(3).sign(signer()).unwrap();
    write("roster", "signed", &signed);
    let mut reader = casemate_cbor::Reader::new(&signed, "roster");
    reader.array_of(2).unwrap();
    write("roster", "content", reader.bytes().unwrap());
    let vector: serde_json::Value =
        serde_json::from_str(include_str!("../../../vectors/channel.json")).unwrap();
    for name in ["hello", "answer", "finish"] {
        let bytes = hex::decode(vector[name].as_str().unwrap()).unwrap();
        write("handshake", name, &bytes);
    }
    for (number, seed) in casemate_fuzzing::aggregation::seeds().iter().enumerate() {
        write("aggregation", &format!("{number:02}"), seed);
    }
    let signed = casemate_fuzzing::aggregation::signed_policy();
    write("aggregation_policy", "signed", &signed);
    let mut reader = casemate_cbor::Reader::new(&signed, "policy");
    reader.array_of(2).unwrap();
    write("aggregation_policy", "content", reader.bytes().unwrap());
    let delegation = Delegation::sign(signer(), signer().verifying_key(), 9, 9).unwrap();
    write("manifest", "delegation", &delegation.to_bytes());
    let owner = ListSigner {
        key: signer(),
        delegation: Some((signer().verifying_key(), &delegation)),
        epoch: None,
        now: 1,
    };
    for (name, hash, len, owner) in [
        ("blake3", HashAlgorithm::Blake3, 100usize, None),
        ("sha384", HashAlgorithm::Sha384, 0, None),
        ("owned", HashAlgorithm::Blake3, 0, Some(owner)),
    ] {
        let options = SealOptions {
            recipients: &[recipient().public_key()],
            signer: Some(signer()),
            segment_size: SegmentSize::new(65_536).unwrap(),
            hash,
            created: 1,
            content_type: "model/onnx",
            private: &Private::default(),
            revision: None,
            owner,
            public_part: &[],
            digest_content: false,
        };
        let sink = Mutex::new(Vec::new());
        seal(&vec![7u8; len], &sink, &options, &|_| ()).unwrap();
        let bytes = sink.into_inner().unwrap();
        let body = usize::try_from(Artifact::read(&bytes).unwrap().header().body_len()).unwrap();
        write("artifact", name, &bytes);
        let tail = [
            &u16::try_from(body).unwrap().to_be_bytes()[..],
            &bytes[body..bytes.len() - 32],
        ]
        .concat();
        write("artifact_tail", name, &tail);
    }
    let entry = |path: &str, root: u8| FileEntry {
        path: RelativePath::new(path).unwrap(),
        content_len: 7,
        id: ArtifactId::random().unwrap(),
        root: vec![root; 32],
        digest: vec![root; 32],
        sealed_to: [KeyId::from_bytes([root; 32])].into(),
    };
    let manifest = Manifest {
        id: FolderId::random().unwrap(),
        revision: 2,
        files: vec![entry("a/b.safetensors", 1), entry("config.json", 2)],
        expires: Some(1_900_000_000),
    };
    let sealed = |path: &str| PublicEntry {
        path: RelativePath::new(path).unwrap(),
        header: [3; 48],
        root: vec![1; 32],
    };
    let list = PublicList::new(vec![sealed("a/b.safetensors"), sealed("config.json")]);
    write("manifest", "public-list", &list.encode());
    write("manifest", "two-files", &manifest.encode());
    for suite in [
        "mlkem1024-p384",
        "mlkem768-x25519",
        "mldsa87-p384",
        "mldsa65-ed25519",
        "mlkem1024",
        "mldsa87",
        "mlkem1024-x25519",
        "slhdsa-sha2-192s",
        "http-ed25519-mldsa65",
    ] {
        let key = PrivateKey::generate(suite).unwrap().unwrap();
        write(
            "key_file",
            &format!("{suite}.private"),
            key.to_pem().unwrap().expose(),
        );
        write(
            "key_file",
            suite,
            key.public_key().unwrap().to_pem().unwrap().as_bytes(),
        );
    }
    let identity = age_identity().public_key();
    for (name, encoding) in [("binary", Encoding::Binary), ("armor", Encoding::Armor)] {
        let mut file = Vec::new();
        encrypt(&[identity], b"secret".as_slice(), &mut file, encoding).unwrap();
        write("age_file", name, &file);
    }
    let text = recipient_to_text(identity).unwrap();
    write("age_text", "recipient", text.as_bytes());
    // From the C2SP test kit.
    let text = b"AGE-SECRET-KEY-PQ-1HZLGZUPT4ETPKDEV8HSGFDCYZ4E522W0A7PU2LHT8EH9W6YLNC3SW78XKG\n";
    write("age_text", "identity", text);
    write(
        "policy",
        "hybrid",
        include_bytes!("../../casemate-crypto/policies/hybrid.toml"),
    );

    let gateway = GatewayKey::new(
        1,
        KemPrivateKey::from_seed(&suite::MLKEM768_X25519, &[1; 32]).unwrap(),
    )
    .unwrap();
    let http = HttpSigningKey::from_seeds(&[1; 32], &[2; 32]).unwrap();
    let config = gateway.config().unwrap();
    let list = config.encode_list();
    write("ohttp", "key-list", &list);
    write("ohttp", "key-document", &key_document(&list, &http));
    let gateway_id = KeyId::from_bytes([7; 32]);
    let mark = RequestMark {
        id: RequestId([5; 16]),
        first: 1000,
        record: RecordId([6; 16]),
    };
    let sealer = config.start_request(&gateway_id).unwrap();
    let channel = sealer.channel().clone();
    let mut request = Request::new("POST", "gateway", "/predict", b"{}".to_vec()).unwrap();
    write("bhttp", "unsigned-request", &request.to_bhttp().unwrap());
    request.trailers.push("x-after", "1").unwrap();
    sign::sign_request(&mut request, &http, &channel, &mark, 1000).unwrap();
    write("bhttp", "request", &request.to_bhttp().unwrap());
    let field = |name| request.fields.single(name).unwrap();
    let names = ["signature-input", "signature", "casemate-request"];
    write("signatures", "all", names.map(field).join("\n").as_bytes());
    write(
        "ohttp",
        "request",
        &sealer.seal(&request.to_bhttp().unwrap()).unwrap().0,
    );
    let response = Response::new(200, b"[1]".to_vec()).unwrap();
    write("bhttp", "response", &response.to_bhttp().unwrap());
    // Indeterminate length (framing 2), one chunk, as another encoder writes it.
    let chunked = b"\x02\x03GET\x05https\x07gateway\x01/\x01x\x01y\x00\x02{}\x00\x00";
    write("bhttp", "indeterminate", chunked);
}

/// A key document that names a successor.
fn key_document(list: &[u8], signer: &HttpSigningKey) -> Vec<u8> {
    let successor = HttpSigningKey::from_seeds(&[3; 32], &[4; 32]).unwrap();
    let succession = Succession::create(signer, &successor).unwrap();
    let statement = Statement {
        key_configs: list,
        not_before: 0,
        not_after: 10,
        record: RecordId([6; 16]),
        serial: 1,
        succession: Some(&succession),
    };
    keydoc::create(&statement, signer).unwrap()
}
