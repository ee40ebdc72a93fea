//! Validation of `[notify]`: errors name the key and hide the secret.

use std::path::Path;

use crate::harness::{Run, millpond};

const SECRET: &str = "S3CRET";

fn check(folder: &Path, notify: &str) -> Run {
    let file = folder.join("notify.toml");
    std::fs::write(&file, format!("[notify]\n{notify}\n")).expect("the folder can be written");
    millpond(
        folder,
        &[
            "check-config",
            "--config",
            file.to_str().expect("the path is text"),
        ],
    )
}

/// Asserts that a `[notify]` section is refused by one line that has all `parts` and no secret.
#[track_caller]
pub fn assert_refused(notify: &str, parts: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(folder.path().join("secret"), SECRET).expect("the folder can be written");
    std::fs::write(folder.path().join("empty"), "\n").expect("the folder can be written");
    let run = check(folder.path(), notify);
    assert_eq!(run.code, Some(2), "{notify}: {run:?}");
    assert_eq!(run.stderr.trim_end().lines().count(), 1, "{}", run.stderr);
    for part in parts {
        assert!(
            run.stderr.contains(part),
            "{part:?} is missing in the error: {}",
            run.stderr
        );
    }
    assert!(
        !run.stderr.contains(SECRET) && !run.stdout.contains(SECRET),
        "{}",
        run.stderr
    );
}

#[test]
fn incomplete_notify_settings_name_missing_key() {
    let mail = "mail_from = \"a@example.org\"\n";
    assert_refused(
        "mail_to = [\"a@example.org\"]",
        &["notify.mail_to", "notify.smtp_url"],
    );
    assert_refused(mail, &["notify.mail_from", "notify.smtp_url"]);
    assert_refused(
        &format!("smtp_url = \"smtp://u:{SECRET}@h\""),
        &["notify.smtp_url", "notify.mail_from"],
    );
    assert_refused(
        &format!("{mail}smtp_url = \"smtp://u:{SECRET}@h\""),
        &["notify.mail_to"],
    );
    assert_refused(
        &format!("webhook_secret = \"{SECRET}\""),
        &["notify.webhook_secret", "notify.webhook_url"],
    );
    assert_refused(
        "webhook_secret_file = \"secret\"",
        &["notify.webhook_secret", "notify.webhook_url"],
    );
}

#[test]
fn invalid_values_are_named_without_secrets() {
    let to = "mail_from = \"a@example.org\"\nmail_to = [\"a@example.org\"]\n";
    for url in ["nonsense", "ftp://h/", "http://", "https://user:"] {
        let line = format!("webhook_url = \"{url}{SECRET}@\"");
        assert_refused(&line, &["notify.webhook_url", "must be like"]);
    }
    for url in [
        "mail.example.org/",
        "http://u:",
        "smtp://h?tls=",
        "smtps://h?tls=none&x=",
        "smtp:",
    ] {
        assert_refused(
            &format!("{to}smtp_url = \"{url}{SECRET}\""),
            &["notify.smtp_url", "must be like"],
        );
    }
    let url = "smtp_url = \"smtp://h\"\n";
    assert_refused(
        &format!("{url}mail_from = \"nobody\"\nmail_to = [\"a@example.org\"]"),
        &["notify.mail_from"],
    );
    assert_refused(
        &format!("{url}mail_from = \"a@example.org\"\nmail_to = [\"a b\"]"),
        &["notify.mail_to", "a b"],
    );
    assert_refused(
        &format!(
            "{url}mail_from = \"a@example.org\\r\\nBcc: b@example.org\"\n\
             mail_to = [\"a@example.org\"]"
        ),
        &["notify.mail_from"],
    );
}

#[test]
fn secret_of_wrong_type_is_hidden() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for key in ["webhook_url", "webhook_secret", "smtp_url"] {
        let run = check(folder.path(), &format!("{key} = 271828182"));
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(
            run.stderr.contains(key) && !run.stderr.contains("271828182"),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn secret_has_one_readable_source() {
    let hook = "webhook_url = \"https://alerts.example.org/hook\"\n";
    let both = format!("{hook}webhook_secret = \"{SECRET}\"\nwebhook_secret_file = \"secret\"");
    assert_refused(
        &both,
        &[
            "notify.webhook_secret",
            "notify.webhook_secret_file",
            "cannot be set together",
        ],
    );
    assert_refused(
        &format!("{hook}webhook_secret_file = \"absent\""),
        &["notify.webhook_secret_file", "absent"],
    );
    assert_refused(
        &format!("{hook}webhook_secret_file = \"empty\""),
        &["notify.webhook_secret_file", "empty"],
    );
    assert_refused("webhook_url_file = \"secret\"", &["notify.webhook_url"]);
    assert_refused("smtp_url_file = \"secret\"", &["notify.smtp_url"]);
}

#[test]
fn valid_notify_settings_are_accepted() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    std::fs::write(
        folder.path().join("smtp"),
        "smtps://user:pass%40word@mail.example.org:4650\n",
    )
    .expect("the folder can be written");
    for notify in [
        "webhook_url = \"http://10.0.0.1:9000/hook?token=x\"",
        "smtp_url = \"smtp://127.0.0.1?tls=none\"\nmail_from = \"a@example.org\"\n\
         mail_to = [\"B <b@example.org>\"]",
        "smtp_url = \"smtp://[::1]:2525\"\nmail_from = \"a@example.org\"\n\
         mail_to = [\"b@example.org\"]",
        "smtp_url_file = \"smtp\"\nmail_from = \"a@example.org\"\n\
         mail_to = [\"b@example.org\", \"c@example.org\"]",
    ] {
        check(folder.path(), notify).assert_success();
    }
}
