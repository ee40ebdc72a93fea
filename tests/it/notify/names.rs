//! Names of the webhook and of the mail server: Millpond's own resolver looks them up.

use hickory_proto::rr::RecordType::{A, AAAA};

use crate::harness::{Builder, DnsReply, Gateway, NameServer, Origin, Reply, Smtp};

const PATH: &str = "/pub/x-1.0.tar.gz";
const HOOK: &str = "/hook";

/// Ways in which a name server answers for a host at 127.0.0.1.
fn serve_names(server: &NameServer) -> [&'static str; 4] {
    let v4 = || vec![DnsReply::Addresses(vec![[127, 0, 0, 1].into()], 300)];
    for (name, reply) in [
        ("silent.example.test", DnsReply::Silence),
        ("failing.example.test", DnsReply::Failure),
        ("missing.example.test", DnsReply::NoName(300)),
    ] {
        server.script(name, A, v4());
        server.script(name, AAAA, vec![reply]);
    }
    // Nothing listens on the first address.
    server.serve("refused.example.test", &["::1", "127.0.0.1"]);
    [
        "silent.example.test",
        "failing.example.test",
        "missing.example.test",
        "refused.example.test",
    ]
}

/// A gateway that may connect to no private address but that of the origin.
fn notifying(server: &NameServer, origin: &Origin) -> Builder {
    Gateway::builder()
        .origin(origin)
        .relay()
        .one_attempt()
        .set("dial.nameservers", &format!("[\"{}\"]", server.address()))
        .set("policy.allow_networks", "[\"127.0.0.9/32\"]")
}

#[test]
fn own_resolver_finds_webhook_and_mail_server() {
    let (server, origin) = (NameServer::start(), Origin::start_at("127.0.0.9"));
    origin.serve(PATH, Reply::status(500));
    let smtp = Smtp::start();
    let authority = smtp.authority();
    let (_, mail_port) = authority.rsplit_once(':').expect("a port");
    for name in serve_names(&server) {
        let hook = Origin::start();
        hook.serve(HOOK, Reply::status(204));
        let gateway = notifying(&server, &origin)
            .text(
                "notify.webhook_url",
                &format!("http://{name}:{}{HOOK}", hook.port()),
            )
            .text("notify.smtp_url", &format!("smtp://{name}:{mail_port}"))
            .text("notify.mail_from", "mill@example.org")
            .set("notify.mail_to", "[\"ops@example.org\"]")
            .start();
        gateway.get(&origin.url(PATH)).send().assert_status(502);
        for channel in ["webhook", "mail"] {
            let delivered = gateway.log().wait_for("a delivery", |event| {
                event["message"] == "notification delivered" && event["by"] == channel
            });
            assert_eq!(delivered["attempt"], 1, "{name}");
        }
        assert_eq!(hook.count(HOOK), 1);
        assert!(server.count(name, A) > 0, "{name}");
    }
}

#[test]
fn unknown_name_is_named_in_log() {
    let (server, origin) = (NameServer::start(), Origin::start_at("127.0.0.9"));
    origin.serve(PATH, Reply::status(500));
    let gateway = notifying(&server, &origin)
        .text("notify.webhook_url", "http://none.example.test/hook")
        .text("notify.smtp_url", "smtp://none.example.test")
        .text("notify.mail_from", "mill@example.org")
        .set("notify.mail_to", "[\"ops@example.org\"]")
        .text("log.level", "debug")
        .start();
    gateway.get(&origin.url(PATH)).send().assert_status(502);
    for channel in ["webhook", "mail"] {
        let failed = gateway.log().wait_for("a failure", |event| {
            event["message"] == "notification failed, will retry" && event["by"] == channel
        });
        let why = failed["why"].to_string();
        assert!(why.contains("none.example.test has no address"), "{why}");
    }
}
