//! What is wrong with a gateway's configuration.

use crate::support::Sandbox;

#[test]
fn a_wrong_name_in_the_table_of_certificates_is_named() {
    let sandbox = Sandbox::empty();
    sandbox.ok(&["keys", "init"]);
    for (table, why) in [
        (
            "self_signd = \"tls\"\nnames = [\"a\"]",
            "unknown field `self_signd`",
        ),
        (
            "self_signed = \"tls\"\nnames = [\"a\"]\nmore = 1",
            "unknown field `more`",
        ),
        ("certificate = \"a\"", "`certificate` is set without `key`"),
        ("key = \"a\"", "`key` is set without `certificate`"),
        (
            "self_signed = \"tls\"",
            "`self_signed` is set without `names`",
        ),
        ("names = [\"a\"]", "`names` is set without `self_signed`"),
        ("", "either `certificate` and `key`"),
        (
            "certificate = \"a\"\nkey = \"b\"\nself_signed = \"c\"\nnames = []",
            "either `certificate` and `key`",
        ),
    ] {
        let config = format!("listen = \"127.0.0.1:0\"\nidentity = \"x\"\n[tls]\n{table}\n");
        sandbox.write("gateway.toml", config.as_bytes());
        sandbox.refused(&["gateway", "--config", "gateway.toml"], 2, why);
    }
}

#[test]
fn a_sealed_folder_is_no_model_to_serve() {
    let sandbox = Sandbox::with_keys();
    sandbox.ok(&["keys", "generate", "--name", "gate", "--kind", "http"]);
    std::fs::create_dir(sandbox.path("folder")).unwrap();
    sandbox.write("folder/model.onnx", b"x");
    sandbox.ok(&["seal", "folder", "--to", "alice", "--sign", "publisher"]);
    let config = "listen = \"127.0.0.1:0\"\nidentity = \"gate\"\n[tls]\nself_signed = \"tls\"\nnames = [\"localhost\"]\n\
         [[model]]\nname = \"m\"\nartifact = \"folder.sealed\"\nkey = \"alice\"\npublisher = \"publisher\"\n";
    sandbox.write("gateway.toml", config.as_bytes());
    let gateway = ["gateway", "--config", "gateway.toml"];
    sandbox.refused(
        &gateway,
        2,
        "folder.sealed is a folder; a served model must be a single sealed file",
    );
}
