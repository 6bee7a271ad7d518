//! Profiles of `~/.aws`, in the forms that the AWS tools write and that people edit.

use std::{fs, path::Path};

use crate::{StoreError, profile::settings};

struct Home(tempfile::TempDir);

impl Home {
    fn new(files: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        for (name, text) in files {
            fs::write(home.path().join(".aws").join(name), text).unwrap();
        }
        Self(home)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Reads the settings with these variables beside `HOME`.
    fn read(&self, variables: &[(&str, &str)]) -> Result<Vec<(String, String)>, StoreError> {
        let home = ("HOME", self.path().to_str().unwrap());
        let all = [&[home], variables].concat();
        let owned = all
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut found = settings(&owned.collect::<Vec<_>>())?;
        found.sort();
        Ok(found)
    }

    #[track_caller]
    fn assert(&self, variables: &[(&str, &str)], expected: &[(&str, &str)]) {
        let found = self.read(variables).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    fn refused(&self, variables: &[(&str, &str)]) -> String {
        self.read(variables).unwrap_err().to_string()
    }
}

const CREDENTIALS: &str = "\
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = default/secret+=

# A second account.
[lab]
aws_access_key_id=AKIALAB
aws_secret_access_key=lab#secret;with signs
aws_session_token = token==
";

const CONFIG: &str = "\
[default]
region = us-east-1
[profile lab]
region = eu-west-3
endpoint_url = https://minio.example
s3 =
    addressing_style = path
    region = not-the-region
";

const LAB: [(&str, &str); 5] = [
    ("AWS_ACCESS_KEY_ID", "AKIALAB"),
    ("AWS_ENDPOINT_URL", "https://minio.example"),
    ("AWS_REGION", "eu-west-3"),
    ("AWS_SECRET_ACCESS_KEY", "lab#secret;with signs"),
    ("AWS_SESSION_TOKEN", "token=="),
];

#[test]
fn without_files_or_a_home_there_are_no_settings() {
    Home::new(&[]).assert(&[], &[]);
    assert!(settings(&[]).unwrap().is_empty());
}

#[test]
fn the_default_profile_is_used_unless_another_is_chosen() {
    let home = Home::new(&[("credentials", CREDENTIALS), ("config", CONFIG)]);
    let default = [
        ("AWS_ACCESS_KEY_ID", "AKIADEFAULT"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_SECRET_ACCESS_KEY", "default/secret+="),
    ];
    home.assert(&[], &default);
    home.assert(&[("AWS_PROFILE", "")], &default);
    home.assert(&[("AWS_PROFILE", "lab")], &LAB);
    home.assert(&[("AWS_DEFAULT_PROFILE", "lab")], &LAB);
    let both = [("AWS_DEFAULT_PROFILE", "default"), ("AWS_PROFILE", "lab")];
    home.assert(&both, &LAB);
}

#[test]
fn the_environment_takes_precedence_over_the_profile() {
    let home = Home::new(&[("credentials", CREDENTIALS), ("config", CONFIG)]);
    let region = [("AWS_PROFILE", "lab"), ("AWS_DEFAULT_REGION", "us-west-2")];
    let without_region: Vec<_> = LAB
        .into_iter()
        .filter(|(name, _)| *name != "AWS_REGION")
        .collect();
    home.assert(&region, &without_region);
    // Keys of the environment are never mixed with those of the profile.
    let keys = [("AWS_PROFILE", "lab"), ("AWS_ACCESS_KEY_ID", "AKIAOTHER")];
    home.assert(&keys, &[LAB[1], LAB[2]]);
}

#[test]
fn files_elsewhere_are_named_by_the_environment() {
    let home = Home::new(&[("mine", CREDENTIALS), ("other", CONFIG)]);
    let at = |name: &str| {
        home.path()
            .join(".aws")
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    };
    let (credentials, config) = (at("mine"), at("other"));
    home.assert(
        &[
            ("AWS_SHARED_CREDENTIALS_FILE", &credentials),
            ("AWS_CONFIG_FILE", &config),
            ("AWS_PROFILE", "lab"),
        ],
        &LAB,
    );
}

#[test]
fn a_profile_that_is_nowhere_is_refused_by_name() {
    let home = Home::new(&[("credentials", CREDENTIALS), ("config", CONFIG)]);
    let refused = home.refused(&[("AWS_PROFILE", "lba\u{1b}")]);
    assert_eq!(
        refused,
        "the AWS profile `lba\\u{1b}` is in neither the credentials file nor the config file"
    );
    // A section of the config file without `profile` is another thing, such as a session.
    let home = Home::new(&[("config", "[lab]\nregion = eu-west-3\n")]);
    assert!(home.refused(&[("AWS_PROFILE", "lab")]).contains("neither"));
}

#[test]
fn keys_from_elsewhere_are_refused_by_what_gives_them() {
    for setting in [
        "sso_session = s",
        "sso_start_url = https://sso.example",
        "role_arn = arn:aws:iam::1:role/r",
        "credential_process = /bin/true",
        "web_identity_token_file = /token",
        "login_session = s",
    ] {
        let home = Home::new(&[("config", &format!("[profile lab]\n{setting}\n"))]);
        let refused = home.refused(&[("AWS_PROFILE", "lab")]);
        let name = setting.split(' ').next().unwrap();
        let rule = format!("gets its keys through {name}, which is not supported");
        assert!(refused.ends_with(&rule), "{refused}");
    }
}

#[test]
fn half_a_key_and_a_chosen_profile_without_keys_are_refused() {
    let half = "[default]\naws_access_key_id = AKIA\n[lab]\nregion = r\n";
    let home = Home::new(&[("credentials", half)]);
    assert!(
        home.refused(&[])
            .ends_with("has only half of an access key")
    );
    assert!(
        home.refused(&[("AWS_PROFILE", "lab")])
            .ends_with("has no access key")
    );
    // The default profile may have none: the machine may have a role.
    let home = Home::new(&[("config", "[default]\nregion = eu-west-3\n")]);
    home.assert(&[], &[("AWS_REGION", "eu-west-3")]);
}

#[test]
fn a_file_that_cannot_be_read_is_named_without_its_content() {
    let home = Home::new(&[("credentials", "[default\naws_secret_access_key = SECRET\n")]);
    let refused = home.read(&[]).unwrap_err();
    let StoreError::ProfileFile { path, source } = refused else {
        panic!("{refused}");
    };
    assert!(path.ends_with(".aws/credentials"));
    assert!(!source.to_string().contains("SECRET"), "{source}");
    let long = format!("[default]\nregion = {}\n", "x".repeat(1 << 20));
    let home = Home::new(&[("config", &long)]);
    let refused = home.read(&[]).unwrap_err();
    assert!(
        matches!(refused, StoreError::ProfileFile { .. }),
        "{refused}"
    );
    let home = Home::new(&[]);
    fs::create_dir(home.path().join(".aws/config")).unwrap();
    let refused = home.read(&[]).unwrap_err();
    assert!(
        matches!(refused, StoreError::ProfileFile { .. }),
        "{refused}"
    );
    let home = Home::new(&[]);
    fs::write(
        home.path().join(".aws/config"),
        b"[default]\nregion = \xff\n",
    )
    .unwrap();
    let refused = home.read(&[]).unwrap_err();
    assert!(
        matches!(refused, StoreError::ProfileFile { .. }),
        "{refused}"
    );
}
