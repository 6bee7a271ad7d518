//! Headers, whole, cut and hostile. Files of the real libraries are read in
//! `bindings/python/tests/test_inspect.py`.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a failed expectation fails the test"
)]

use casemate_models::{Format, Model, ModelError, read_model, scan_pickle};

fn read(bytes: &[u8]) -> Result<Option<Model>, ModelError> {
    read_model(&bytes.to_vec())
}

fn safetensors(json: &str, data: usize) -> Vec<u8> {
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json.as_bytes());
    file.resize(file.len() + data, 0);
    file
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// One text, one list of texts, one tensor of 4 x 3 in F16.
fn gguf() -> Vec<u8> {
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend(1_u64.to_le_bytes());
    file.extend(3_u64.to_le_bytes());
    file.extend(text("general.name"));
    file.extend(8_u32.to_le_bytes());
    file.extend(text("tiny"));
    file.extend(text("tokens"));
    file.extend(9_u32.to_le_bytes());
    file.extend(8_u32.to_le_bytes());
    file.extend(2_u64.to_le_bytes());
    file.extend(text("a"));
    file.extend(text("bc"));
    file.extend(text("layers"));
    file.extend(4_u32.to_le_bytes());
    file.extend(7_u32.to_le_bytes());
    file.extend(text("blk.0.w"));
    file.extend(2_u32.to_le_bytes());
    file.extend(3_u64.to_le_bytes());
    file.extend(4_u64.to_le_bytes());
    file.extend(1_u32.to_le_bytes());
    file.extend(0_u64.to_le_bytes());
    file
}

#[test]
fn a_gguf_header_gives_its_pairs_and_tensors() {
    let file = gguf();
    let model = read(&file).unwrap().unwrap();
    assert_eq!(model.format, Format::Gguf);
    let pairs: Vec<_> = model
        .metadata
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    let expected = [
        ("general.name", "tiny"),
        ("tokens", "[2 values]"),
        ("layers", "7"),
    ];
    assert_eq!(pairs, expected);
    let tensor = &model.tensors[0];
    assert_eq!(
        (tensor.name.as_str(), tensor.dtype.as_str()),
        ("blk.0.w", "F16")
    );
    assert_eq!(tensor.shape, [4, 3]);
    for len in 16..file.len() {
        read(&file[..len]).unwrap_err();
    }
    // Counts that no memory holds, where tensors, pairs and a list's elements are counted.
    for at in [8, 16] {
        let mut huge = file.clone();
        huge[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(read(&huge).unwrap_err(), ModelError::Limit(_)));
    }
    let at = file
        .windows(6)
        .position(|window| window == b"tokens")
        .unwrap()
        + 14;
    let mut huge = file.clone();
    huge[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(
        read(&huge).unwrap_err(),
        ModelError::Malformed { .. }
    ));
}

#[test]
fn a_safetensors_header_is_read_by_its_rules() {
    let tensor = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let good = safetensors(
        &format!(r#"{{"w":{tensor},"__metadata__":{{"a":"b"}}}}"#),
        8,
    );
    let model = read(&good).unwrap().unwrap();
    assert_eq!(
        (model.format, model.tensors[0].bytes),
        (Format::Safetensors, Some(8))
    );
    assert_eq!(model.metadata, [("a".to_owned(), "b".to_owned())]);
    for (json, data) in [
        (format!(r#"{{"w":{tensor}}}"#), 7),
        (format!(r#"{{"w":{tensor}}}"#), 9),
        (format!(r#"{{"w":{tensor},"w":{tensor}}}"#), 8),
        (format!(r#"{{"w":{tensor},"v":{tensor}}}"#), 16),
        (
            r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#.to_owned(),
            8,
        ),
        (
            r#"{"w":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#.to_owned(),
            8,
        ),
        (
            r#"{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#.to_owned(),
            8,
        ),
        (
            r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}}"#.to_owned(),
            8,
        ),
        (format!(r#"{{"w":{}"#, "[".repeat(10_000)), 8),
    ] {
        read(&safetensors(&json, data)).expect_err(&json);
    }
    let mut longer = good;
    longer[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    read(&longer).unwrap_err();
}

#[test]
fn an_onnx_file_gives_its_initializers() {
    // TensorProto: dims 3 and 4 packed, type FLOAT, name "w", four bytes of raw data.
    let tensor = [0x0a, 2, 3, 4, 0x10, 1, 0x42, 1, b'w', 0x4a, 4, 0, 0, 0, 0];
    let mut graph = vec![0x2a, 15];
    graph.extend(tensor);
    let mut file = vec![0x08, 8, 0x12, 2, b'm', b'e', 0x3a, 17];
    file.extend(&graph);
    let model = read(&file).unwrap().unwrap();
    assert_eq!(model.format, Format::Onnx);
    let tensor = &model.tensors[0];
    assert_eq!(
        (tensor.name.as_str(), tensor.dtype.as_str()),
        ("w", "FLOAT")
    );
    assert_eq!(
        (tensor.shape.as_slice(), tensor.bytes),
        ([3, 4].as_slice(), Some(4))
    );
    // Protobuf has no magic: what is not well-formed is no ONNX.
    for len in 0..file.len() {
        assert_eq!(read(&file[..len]).unwrap(), None, "{len}");
    }
}

#[test]
fn a_pickle_names_what_it_would_import_without_being_run() {
    // os.system("x") in protocols 0 and 4, and an ordered dictionary.
    let old = b"cos\nsystem\n(S'x'\ntR.";
    let new = b"\x80\x04\x95\x1c\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x01x\x94\x85\x94R\x94.";
    for (pickle, import) in [(old.as_slice(), "os system"), (new, "posix system")] {
        let found = scan_pickle(&pickle.to_vec()).unwrap();
        assert_eq!(found.suspicious().collect::<Vec<_>>(), [import]);
        assert!(found.is_dangerous() && found.operations["REDUCE"] == 1);
        for len in 0..pickle.len() {
            scan_pickle(&pickle[..len].to_vec()).unwrap_err();
        }
    }
    let harmless = scan_pickle(&b"\x80\x02ccollections\nOrderedDict\nq\x00)R.".to_vec()).unwrap();
    assert!(!harmless.is_dangerous());
    assert_eq!(harmless.imports.len(), 1);
}

#[test]
fn an_array_of_numpy_is_no_pickle() {
    let array =
        b"\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }          \n";
    assert_eq!(read(array).unwrap(), None);
    // Python takes the names that follow from a stack that has something on it.
    assert!(
        read(b"\x8c\x02os\x8c\x06system\x93.")
            .unwrap()
            .unwrap()
            .pickles[0]
            .1
            .is_dangerous()
    );
    scan_pickle(&b"\x80\x04\x93.".to_vec()).unwrap_err();
}

#[test]
fn a_pickle_cannot_hide_a_name_behind_the_stack() {
    // Pushes a bad pair, then a good one that it takes away again.
    let popped = b"\x80\x04\x8c\x02os\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93.";
    // Puts a bad pair into the memo and names good ones before fetching it.
    let recalled = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x8c\x0bcollections\x8c\x0bOrderedDicth\x00h\x01\x93.";
    // Names by number.
    let extension = b"\x80\x02\x82\x01.";
    // Fetches a good pair, after bad ones were put over it under numbers that only Python reads:
    // `1_0` is 10, as is a 10 after many zeros.
    let name = |text: &str| [&[0x8c, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let replaced = |ten: &str, eleven: &str| {
        let good = [
            name("collections"),
            b"q\x0a0".to_vec(),
            name("OrderedDict"),
            b"q\x0b0".to_vec(),
        ];
        let bad = [
            name("os"),
            format!("p{ten}\n0").into(),
            name("system"),
            format!("p{eleven}\n0").into(),
        ];
        [
            b"\x80\x04".to_vec(),
            good.concat(),
            bad.concat(),
            b"h\x0ah\x0b\x93.".to_vec(),
        ]
        .concat()
    };
    let zeros = "0".repeat(4096);
    let long = replaced(&format!("{zeros}10"), &format!("{zeros}11"));
    let odd = replaced("1_0", "1_1");
    for pickle in [popped.as_slice(), recalled, extension, &odd, &long] {
        assert!(scan_pickle(&pickle.to_vec()).unwrap().is_dangerous());
    }
    let plain = scan_pickle(&replaced("12", "13")).unwrap();
    assert!(!plain.is_dangerous() && plain.imports.len() == 1);
}

#[test]
fn an_operation_that_goes_beyond_its_frame_is_refused() {
    let frame = |len: u64, operations: &[u8]| {
        [b"\x80\x04\x95", len.to_le_bytes().as_slice(), operations].concat()
    };
    let name = b"c_codecs\nencode\n.";
    let whole = frame(17, name);
    assert!(!scan_pickle(&whole).unwrap().is_dangerous());
    // CPython imports `codecs` here when it reads a file: the frame ends behind the underscore.
    for len in (0..30).filter(|len| *len != 0 && *len != 16 && *len != 17) {
        scan_pickle(&frame(len, name)).unwrap_err();
    }
    // The end may stand behind the frame, as may whole operations.
    scan_pickle(&frame(16, name)).unwrap();
    scan_pickle(&frame(0, name)).unwrap();
    // Bytes that hide a call: with what is left in the frame lost, the call follows the bytes.
    let hidden = [
        b"C\x20".as_slice(),
        &[b'N'; 20],
        b"cos\nsystem\n.",
        &[b'N'; 20],
        b".",
    ]
    .concat();
    scan_pickle(&frame(12, &hidden)).unwrap_err();
    scan_pickle(&frame(hidden.len() as u64, &hidden)).unwrap();
    scan_pickle(&frame(30, &frame(8, name)[2..])).unwrap_err();
}

#[test]
fn a_name_with_a_dot_is_not_what_it_ends_in() {
    for (name, dangerous) in [("FloatStorage", false), ("a.b.FloatStorage", true)] {
        let pickle = format!("ctorch\n{name}\n.").into_bytes();
        assert_eq!(
            scan_pickle(&pickle).unwrap().is_dangerous(),
            dangerous,
            "{name}"
        );
    }
}

#[test]
fn a_name_that_the_end_of_the_file_cuts_off_is_seen() {
    // Python runs this: it takes the last byte of the name for the end of the line.
    let model = read(b"(S'id'\nios\nsystemX").unwrap().unwrap();
    let (_, pickle) = &model.pickles[0];
    assert_eq!(pickle.suspicious().collect::<Vec<_>>(), ["os systemX"]);
    assert!(pickle.unread && pickle.is_dangerous());
}

#[test]
fn what_follows_a_pickle_is_looked_at_or_said_not_to_be() {
    let first = b"\x80\x02K\x01.";
    let attack = b"\x80\x02cposix\nsystem\nX\x01\0\0\0x\x85R.";
    let both = scan_pickle(&[&first[..], attack].concat()).unwrap();
    assert_eq!(both.suspicious().collect::<Vec<_>>(), ["posix system"]);
    let more = scan_pickle(&[&first[..], b"more"].concat()).unwrap();
    assert!(more.unread && more.is_dangerous());
    assert!(!scan_pickle(&first.to_vec()).unwrap().is_dangerous());
    let old = read(b"cposix\nsystem\n(S'x'\ntR.").unwrap().unwrap();
    assert!(old.format == Format::Pickle && old.pickles[0].1.is_dangerous());
}

#[test]
fn what_a_loader_runs_before_it_gives_up_is_shown() {
    let call = b"cposix\nsystem\n(S'x'\ntR";
    let long = [b"S'".as_slice(), &[b'a'; 10_000], b"'\n0"].concat();
    let endless = b"N0".repeat(1 << 21);
    let mut files = vec![
        [&long, call.as_slice(), b"."].concat(),
        [call.as_slice(), b"\xff"].concat(),
        call.to_vec(),
        [b"Np1_0\n0", call.as_slice(), b"."].concat(),
        [&endless, call.as_slice(), b"."].concat(),
    ];
    for file in &files {
        let model = read(file).unwrap().unwrap();
        assert!(model.format == Format::Pickle && model.pickles[0].1.is_dangerous());
    }
    // Text that only begins as a pickle might is none.
    files.clear();
    files.extend([b"N\xff".to_vec(), b"S'a text'\n".to_vec(), b"K".to_vec()]);
    for file in &files {
        assert_eq!(read(file).unwrap(), None);
    }
}

#[test]
fn small_pickles_cannot_fill_the_memory() {
    let mut pickle = b"\x80\x04X\0\x04\0\0".to_vec();
    pickle.extend([b'a'; 1024]);
    pickle.extend(vec![0x94; 2 << 20]);
    pickle.push(b'.');
    assert!(matches!(
        scan_pickle(&pickle).unwrap_err(),
        ModelError::Limit(_)
    ));
}

#[test]
fn a_safetensors_length_that_looks_like_a_pickle_is_a_length() {
    let json = format!("{{{}}}", " ".repeat(0x280 - 2));
    let file = safetensors(&json, 0);
    assert_eq!(file[..2], [0x80, 2]);
    assert_eq!(read(&file).unwrap().unwrap().format, Format::Safetensors);
}

#[test]
fn other_content_is_no_model() {
    for bytes in [
        &b""[..],
        b"x",
        b"plain text, nothing else",
        &[0; 100],
        b"PK\x05\x06",
    ] {
        assert_eq!(read(bytes).unwrap(), None);
    }
    // A zip in name only.
    read(b"PK\x03\x04 and nothing that follows").unwrap_err();
}
