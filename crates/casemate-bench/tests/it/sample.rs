//! A report with one row in every table.

use casemate_bench::Report;
use serde_json::{Value, json};

fn timing(median: f64) -> Value {
    json!({ "median_us": median, "mad_us": median / 100.0, "samples": 9 })
}

/// Returns the JSON of the report; the caller may change it before it is read.
pub(crate) fn json() -> Value {
    json!({
        "schema": "casemate.bench/1",
        "created": 1_767_225_600,
        "version": "0.1.0",
        "effort": "standard",
        "catalogue": false,
        "machine": {
            "cpu": "Test CPU", "cores": 2, "features": ["aes", "avx2"],
            "memory_bytes": 8_000_000_000_u64, "system": "Linux 6"
        },
        "primitives": [
            {
                "name": "ML-KEM-768", "family": "lattice", "library": "AWS-LC",
                "operations": [{ "name": "encapsulate", "timing": timing(11.0), "parts": null }],
                "sizes": {
                    "public_key": 1184, "private_key": 64, "private_key_expanded": 2400,
                    "output": 1088
                },
                "peak_memory_bytes": 40_000
            },
            {
                "name": "mlkem768-x25519", "family": "hybrid", "library": "Casemate on AWS-LC",
                "operations": [{
                    "name": "seal", "timing": timing(70.0),
                    "parts": { "of": ["ML-KEM-768 encapsulate"], "sum_us": 60.0, "ratio": 1.17 }
                }],
                "sizes": {
                    "public_key": 1216, "private_key": 32, "private_key_expanded": 2432,
                    "output": 1168
                },
                "peak_memory_bytes": null
            }
        ],
        "bulk": [{
            "name": "AES-256-GCM", "threads": 1, "gb_per_second": 5.25, "mad": 0.05,
            "limit": "AES-256 rounds", "percent_of_limit": 55.0
        }],
        "gradients": [{
            "message_bytes": 1_048_576, "phase": "steady", "added_bytes": 28,
            "added_percent": 0.003, "cpu": timing(400.0), "copy": timing(100.0)
        }],
        "checkpoints": [{
            "content_bytes": 1_073_741_824_u64, "artifact_bytes_formula": 1_073_900_000_u64,
            "artifact_bytes": 1_073_900_123_u64, "overhead_percent": 0.0147,
            "seal": timing(900_000.0), "copy": timing(700_000.0), "open": timing(500_000.0)
        }],
        "handshakes": [{
            "group": "X25519MLKEM768", "certificate": "ECDSA P-256", "kind": "hybrid",
            "client_bytes": 1500, "server_bytes": 2300, "time": timing(650.0)
        }],
        "rounds": [{
            "parameters": 1_000_000, "megabits": 100, "link": "in process", "mode": "protected",
            "time": timing(650_000.0), "added_percent": 0.5, "bytes": 8_010_000
        }],
        "baselines": [{
            "program": "OpenSSL 3.5", "row": "ML-KEM-768 encapsulate", "value": 22.0,
            "unit": "us", "ours": 11.0
        }],
        "notes": ["the machine was noisy"]
    })
}

pub(crate) fn read(value: &Value) -> Report {
    Report::from_json(value.to_string().as_bytes()).unwrap()
}

/// The tables that can have rows.
pub(crate) const TABLES: [&str; 7] = [
    "primitives",
    "bulk",
    "gradients",
    "checkpoints",
    "handshakes",
    "rounds",
    "baselines",
];

/// Returns the report without any rows.
pub(crate) fn empty() -> Report {
    let mut value = json();
    for table in TABLES {
        value[table] = json!([]);
    }
    value["notes"] = json!([]);
    read(&value)
}
