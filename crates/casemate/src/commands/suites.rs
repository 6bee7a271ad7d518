//! `casemate suites`: every algorithm, and the policies that allow it.

use std::fmt::Write as _;

use casemate_crypto::{
    catalogue::{
        Algorithm, OUTSIDE_POLICIES, OutsidePolicy, OutsideVerdict, Protects, Ruling, Step, Usage,
        catalogue,
    },
    policy::Policy,
    suite::HpkeTriple,
};
use serde_json::{Value, json};

use crate::{args::SuitesOptions, context::Context, fault::Fault};

/// Width of wrapped text.
const COLUMNS: usize = 100;

/// Most names to list in a hint.
const NEAR_MAX: usize = 5;

pub(crate) fn run(context: &Context<'_>, options: &SuitesOptions) -> Result<(), Fault> {
    let policies = Policies {
        chosen: context.policy()?.clone(),
        profiles: Policy::built_in()?,
    };
    let Some(name) = &options.name else {
        let rows: Vec<_> = catalogue().map(|row| policies.json(row)).collect();
        let json = json!({
            "schema": "casemate.suites/1",
            "policy": policies.chosen.name(),
            "algorithms": rows,
        });
        context.printer.data(&json, &policies.table());
        return Ok(());
    };
    let row = Algorithm::by_name(name).ok_or_else(|| unknown(name))?;
    let json = json!({
        "schema": "casemate.suites/1",
        "policy": policies.chosen.name(),
        "algorithms": [policies.json(row)],
    });
    context.printer.data(&json, &policies.page(row));
    Ok(())
}

fn unknown(name: &str) -> Fault {
    let near = Algorithm::near(name, NEAR_MAX);
    let hint = if near.is_empty() {
        "run `casemate suites` to list all algorithms".to_owned()
    } else {
        format!(
            "similar names: {}; run `casemate suites` to list all",
            near.join(", ")
        )
    };
    Fault::usage(format!("no algorithm is named `{name}`")).hint(hint)
}

/// The policy in force, and the built-in ones.
struct Policies {
    chosen: Policy,
    profiles: Vec<Policy>,
}

impl Policies {
    fn protects(&self, row: &Algorithm) -> Protects {
        row.protects(&self.chosen, &self.profiles)
    }

    fn table(&self) -> String {
        let mut notes = Notes::default();
        let mut text = format!(
            "Policy {}. `casemate suites NAME` shows identifiers and the rulings of other policies.\n",
            self.chosen.name()
        );
        for (head, output, signs) in [("ENCRYPTION", "CT", false), ("SIGNATURES", "SIG", true)] {
            text.push('\n');
            text.push_str(&line([
                head, "FAMILY", "STANDARD", "STATUS", "CAT", "PUBLIC", output, "PROTECTS",
            ]));
            for row in catalogue().filter(|row| (row.usage == Usage::Signature) == signs) {
                let protects = match self.protects(row) {
                    Protects::Yes => "yes".to_owned(),
                    Protects::OnlyUnder(profiles) => {
                        format!("policy [{}]", notes.number(only_under(&profiles)))
                    }
                    Protects::No(why) => format!("no [{}]", notes.number(why.to_owned())),
                };
                text.push_str(&line([
                    row.name,
                    row.family().as_str(),
                    short(row.standards.first().copied().unwrap_or("none")),
                    row.status.as_str(),
                    &level(row),
                    &row.public_key_bytes.to_string(),
                    &row.output_bytes.to_string(),
                    &protects,
                ]));
            }
        }
        text.push_str(
            "\nCAT is the NIST category; PUBLIC, CT and SIG are bytes of public key, ciphertext and signature.\n",
        );
        for (number, note) in (1..).zip(&notes.texts) {
            text.push_str(&wrapped(&format!("[{number}]"), note, 5));
        }
        text.trim_end().to_owned()
    }

    fn page(&self, row: &Algorithm) -> String {
        let mut text = String::new();
        let mut say = |head: &str, words: &str| text.push_str(&wrapped(head, words, 14));
        say("name", row.name);
        say("algorithm", row.title);
        say("use", row.usage.as_str());
        say("family", row.family().as_str());
        say("assumption", &row.assumption());
        let (first, others) = row
            .standards
            .split_first()
            .map_or(("none", &[][..]), |(first, others)| (*first, others));
        say("standard", &format!("{first} ({})", row.status.as_str()));
        if !others.is_empty() {
            say("see also", &others.join(", "));
        }
        say("category", &level(row));
        say("public key", &format!("{} B", row.public_key_bytes));
        let private = row
            .private_key_bytes
            .map_or_else(|| "varies".to_owned(), |bytes| format!("{bytes} B"));
        say("private key", &private);
        let output = if row.usage == Usage::Signature {
            "signature"
        } else {
            "ciphertext"
        };
        say(output, &format!("{} B", row.output_bytes));
        for (head, words) in identifiers(row) {
            say(head, &words);
        }
        if let Some(note) = row.note {
            say("note", note);
        }
        let protects = match self.protects(row) {
            Protects::Yes => format!("yes, under policy {}", self.chosen.name()),
            Protects::OnlyUnder(profiles) => only_under(&profiles),
            Protects::No(why) => format!("no: {why}"),
        };
        say("protects", &protects);
        text.push_str("\nCasemate profiles\n");
        for policy in &self.profiles {
            let tls = if row.tls_offered(policy) {
                ", offered in TLS"
            } else {
                ""
            };
            let words = format!("{}{tls}", row.under(policy).as_str());
            text.push_str(&wrapped(&format!("  {}", policy.name()), &words, 19));
        }
        text.push_str("\nOther policies\n");
        for policy in OUTSIDE_POLICIES {
            text.push_str(&verdict_text(policy, &policy.verdict(row)));
        }
        text.trim_end().to_owned()
    }

    fn json(&self, row: &Algorithm) -> Value {
        let (protects, why, under) = match self.protects(row) {
            Protects::Yes => ("yes", None, Vec::new()),
            Protects::OnlyUnder(profiles) => ("policy", None, profiles),
            Protects::No(why) => ("no", Some(why), Vec::new()),
        };
        let profiles: Vec<_> = self
            .profiles
            .iter()
            .map(|policy| {
                json!({
                    "profile": policy.name(),
                    "verdict": row.under(policy).as_str(),
                    "tls_offered": row.tls_offered(policy),
                })
            })
            .collect();
        let outside: Vec<_> = OUTSIDE_POLICIES
            .iter()
            .map(|policy| verdict_json(policy, &policy.verdict(row)))
            .collect();
        json!({
            "name": row.name,
            "title": row.title,
            "use": row.usage.as_str(),
            "family": row.family().as_str(),
            "assumption": row.assumption(),
            "standards": row.standards,
            "status": row.status.as_str(),
            "category": row.level,
            "public_key_bytes": row.public_key_bytes,
            "private_key_bytes": row.private_key_bytes,
            "output_bytes": row.output_bytes,
            "hpke_kem": row.hpke_kem,
            "hpke": row.hpke().map(|triple| json!({ "kem": triple.kem, "kdf": triple.kdf, "aead": triple.aead })),
            "oid": row.oid.map(|oid| oid.to_string()),
            "tls": row.tls.map(|code| json!({ "name": code.name, "value": code.value })),
            "jose": row.jose,
            "http": row.http,
            "note": row.note,
            "protects": protects,
            "why_not": why,
            "protects_under": under,
            "profiles": profiles,
            "policies": outside,
        })
    }
}

/// Footnotes, each listed once.
#[derive(Default)]
struct Notes {
    texts: Vec<String>,
}

impl Notes {
    fn number(&mut self, text: String) -> usize {
        let known = self.texts.iter().position(|own| *own == text);
        let index = known.unwrap_or_else(|| {
            self.texts.push(text);
            self.texts.len().saturating_sub(1)
        });
        index.saturating_add(1)
    }
}

/// Returns the identifiers that the algorithm has, each with its registry.
fn identifiers(row: &Algorithm) -> Vec<(&'static str, String)> {
    let triple = |id: HpkeTriple| {
        let HpkeTriple { kem, kdf, aead } = id;
        format!("{kem:#06x} {kdf:#06x} {aead:#06x} (KEM, KDF, AEAD)")
    };
    let hpke = row
        .hpke()
        .map(triple)
        .or_else(|| row.hpke_kem.map(|kem| format!("{kem:#06x} (KEM)")));
    let tls = row
        .tls
        .map(|code| format!("{} {:#06x}", code.name, code.value));
    [
        ("HPKE", hpke),
        ("OID", row.oid.map(|oid| oid.to_string())),
        ("TLS", tls),
        ("JOSE", row.jose.map(str::to_owned)),
        ("HTTP", row.http.map(str::to_owned)),
    ]
    .into_iter()
    .filter_map(|(head, words)| Some((head, words?)))
    .collect()
}

fn only_under(profiles: &[String]) -> String {
    if profiles.is_empty() {
        return "under no built-in policy".to_owned();
    }
    format!("only under --policy {}", profiles.join(" or "))
}

fn line(cells: [&str; 8]) -> String {
    let [
        name,
        family,
        standard,
        status,
        level,
        public,
        output,
        protects,
    ] = cells;
    format!(
        "{name:<22} {family:<12} {standard:<23} {status:<10} {level:<3} {public:>7} {output:>6} {protects}\n"
    )
}

/// Returns a draft's name without its series.
fn short(standard: &str) -> &str {
    [
        "draft-ietf-lamps-",
        "draft-irtf-cfrg-",
        "draft-tls-westerbaan-",
    ]
    .iter()
    .find_map(|series| standard.strip_prefix(series))
    .unwrap_or(standard)
}

fn level(row: &Algorithm) -> String {
    row.level
        .map_or_else(|| "-".to_owned(), |level| level.to_string())
}

/// Formats a heading with text beside it, wrapped at a fixed left edge.
fn wrapped(head: &str, words: &str, indent: usize) -> String {
    let width = COLUMNS.saturating_sub(indent);
    let mut text = String::new();
    let mut current = String::new();
    let mut head = head;
    let mut flush = |current: &mut String| {
        _ = writeln!(text, "{head:<indent$}{current}");
        head = "";
        current.clear();
    };
    for word in words.split_whitespace() {
        let longer = current.len().saturating_add(word.len()).saturating_add(1);
        if !current.is_empty() && longer > width {
            flush(&mut current);
        }
        if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(word);
    }
    flush(&mut current);
    text
}

fn ruling_text(ruling: Ruling, step: &Step) -> String {
    step.after.map_or_else(
        || ruling.as_str().to_owned(),
        |date| format!("{} after {date}", ruling.as_str()),
    )
}

fn verdict_text(policy: &OutsidePolicy, verdict: &OutsideVerdict) -> String {
    const INDENT: usize = 19;
    let head = format!("  {}", policy.title);
    if verdict.steps.is_empty() {
        let words = format!("{}, so treated as not acceptable", verdict.ruling.as_str());
        return wrapped(&head, &words, INDENT);
    }
    let mut text = String::new();
    let mut head = head.as_str();
    for step in &verdict.steps {
        let words = format!(
            "{}: {} [{}, {}]",
            ruling_text(step.ruling, step),
            step.note,
            step.source,
            step.evidence.as_str()
        );
        text.push_str(&wrapped(head, &words, INDENT));
        head = "";
    }
    text
}

fn verdict_json(policy: &OutsidePolicy, verdict: &OutsideVerdict) -> Value {
    let steps: Vec<_> = verdict
        .steps
        .iter()
        .map(|step| {
            json!({
                "verdict": step.ruling.as_str(),
                "after": step.after.map(|date| date.to_string()),
                "note": step.note,
                "source": step.source,
                "evidence": step.evidence.as_str(),
            })
        })
        .collect();
    json!({
        "policy": policy.id,
        "title": policy.title,
        "document": policy.document,
        "verdict": verdict.ruling.as_str(),
        "after": verdict.after.map(|date| date.to_string()),
        "steps": steps,
    })
}
