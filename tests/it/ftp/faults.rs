//! Tests of FTP servers that are silent, close early, report wrong sizes, or lack commands.

use crate::harness::{Act, Body, FtpServer, GREETING, Gateway, all_at_once, archive, say};

const PATH: &str = "/x-1.0.tar.gz";
const NAME: &str = "x-1.0.tar.gz";
const SIZE: usize = 1 << 20;

/// Returns a server with one file, which does `acts` at `verb`.
fn server(verb: &str, acts: Vec<Act>) -> (FtpServer, Body) {
    let server = FtpServer::start();
    let body = archive(1, SIZE);
    server.serve(NAME, &body);
    server.script(verb, acts);
    (server, body)
}

fn once(server: &FtpServer) -> Gateway {
    Gateway::builder()
        .port(server.port())
        .relay()
        .one_attempt()
        .text("fetch.idle_timeout", "400ms")
        .start()
}

fn twice(server: &FtpServer) -> Gateway {
    Gateway::builder()
        .port(server.port())
        .relay()
        .set("fetch.attempts", "2")
        .text("fetch.idle_timeout", "5s")
        .start()
}

#[test]
fn silence_or_disconnect_at_any_step_is_504() {
    let steps = [
        GREETING, "AUTH", "USER", "PASS", "TYPE", "EPSV", "SIZE", "MDTM", "RETR",
    ];
    all_at_once(steps.len(), |number| {
        let (silent, _) = server(steps[number], vec![Act::Silence]);
        let gateway = once(&silent);
        gateway.get(&silent.url(PATH)).send().assert_problem(504);
        gateway.assert_nothing_stored();
        let (gone, _) = server(steps[number], vec![Act::HangUp]);
        let gateway = Gateway::builder()
            .port(gone.port())
            .relay()
            .one_attempt()
            .start();
        gateway.get(&gone.url(PATH)).send().assert_problem(504);
    });
}

#[test]
fn transient_ftp_replies_are_retried() {
    for code in ["421 full", "425 no line", "450 busy", "451 trouble"] {
        let (one, _) = server("RETR", vec![say(code)]);
        once(&one).get(&one.url(PATH)).send().assert_problem(504);
        let (two, body) = server("RETR", vec![say(code), Act::Usual]);
        twice(&two)
            .get(&two.url(PATH))
            .send()
            .assert_body(200, &body);
        assert_eq!(two.connections(), 2, "the first connection is not reused");
    }
    let (full, body) = server(GREETING, vec![say("421 full"), Act::Usual]);
    twice(&full)
        .get(&full.url(PATH))
        .send()
        .assert_body(200, &body);
}

#[test]
fn permanent_ftp_replies_are_not_retried() {
    for (verb, reply, status) in [
        ("RETR", "550 no such file", 404),
        ("RETR", "553 no such name", 404),
        ("RETR", "502 not here", 502),
        ("TYPE", "504 no", 502),
        (GREETING, "500 no", 502),
        (GREETING, "SSH-2.0-x", 502),
    ] {
        let (server, _) = server(verb, vec![say(reply)]);
        let gateway = Gateway::builder().port(server.port()).relay().start();
        gateway.get(&server.url(PATH)).send().assert_problem(status);
        assert_eq!(server.connections(), 1, "{reply}");
    }
}

#[test]
fn known_size_decides_whether_transfer_is_complete() {
    for act in [
        Act::Send(SIZE, "426 broken"),
        Act::Send(SIZE, ""),
        Act::SendAndStay(SIZE),
    ] {
        let (server, body) = server("RETR", vec![act]);
        let gateway = Gateway::builder()
            .port(server.port())
            .relay()
            .one_attempt()
            .start();
        gateway
            .get(&server.url(PATH))
            .send()
            .assert_body(200, &body);
        gateway.await_stored(&server.url(PATH));
    }
    for act in [
        Act::Send(SIZE / 2, "226 done"),
        Act::Send(SIZE / 2, "426 broken"),
        Act::Send(SIZE / 2, ""),
        Act::SendAndStay(SIZE / 2),
    ] {
        let (server, _) = server("RETR", vec![act]);
        let gateway = once(&server);
        gateway.get(&server.url(PATH)).send().assert_broken();
        gateway.assert_nothing_stored();
    }
}

#[test]
fn wrong_size_reply_stores_nothing() {
    for size in [SIZE - 1, SIZE + 1] {
        let (server, body) = server("SIZE", vec![say(&format!("213 {size}"))]);
        let gateway = once(&server);
        let answer = gateway.get(&server.url(PATH)).send();
        answer.assert_broken();
        assert!(answer.body.len() < size && body.starts_with(&answer.body));
        gateway.assert_nothing_stored();
    }
}

#[test]
fn without_size_the_final_reply_decides() {
    for refusal in ["500 what?", "550 not in this mode", "213 many"] {
        let (whole, body) = server("SIZE", vec![say(refusal)]);
        let gateway = once(&whole);
        let answer = gateway.get(&whole.url(PATH)).send();
        answer.assert_body(200, &body);
        assert_eq!(answer.header("content-length"), None);
        gateway.await_stored(&whole.url(PATH));
        whole.on("RETR", Act::Send(SIZE / 2, "426 broken"));
        let gateway = once(&whole);
        gateway.get(&whole.url(PATH)).send().assert_broken();
        gateway.assert_nothing_stored();
    }
}

#[test]
fn unusable_mdtm_reply_gives_no_last_modified() {
    for refusal in ["500 what?", "213 yesterday", "213 19700100000000"] {
        let (server, body) = server("MDTM", vec![say(refusal)]);
        let answer = once(&server).get(&server.url(PATH)).send();
        answer.assert_body(200, &body);
        assert_eq!(answer.header("last-modified"), None);
    }
}

#[test]
fn head_without_size_and_mdtm_fails() {
    let (server, _) = server("SIZE", vec![say("500 what?")]);
    let gateway = once(&server);
    let head = || gateway.proxied("HEAD", &server.url(PATH)).send();
    let answer = head();
    answer.assert_status(200);
    assert_eq!(answer.header("content-length"), None);
    server.on("MDTM", say("500 what?"));
    head().assert_status(502);
    assert_eq!(server.count("RETR"), 0);
}

#[test]
fn endless_reply_is_rejected() {
    for step in [GREETING, "SIZE"] {
        let (server, _) = server(step, vec![Act::Babble(1 << 20)]);
        let gateway = Gateway::builder()
            .port(server.port())
            .relay()
            .one_attempt()
            .start();
        let answer = gateway.get(&server.url(PATH)).send();
        answer.assert_problem(502);
        assert!(answer.text().contains("no end"), "{}", answer.text());
    }
}

#[test]
fn multiline_replies_are_parsed() {
    let (server, body) = server(
        "PASS",
        vec![say(
            "230-welcome\r\n230-230 is not the end\r\n 230 nor this\r\n230 in",
        )],
    );
    server.on("SIZE", say(&format!("213-so\r\n213 {SIZE}")));
    once(&server)
        .get(&server.url(PATH))
        .send()
        .assert_body(200, &body);
}

#[test]
fn cut_fetch_resumes_if_size_and_date_match() {
    let (server, body) = server("RETR", vec![Act::Send(SIZE / 2, "426 broken"), Act::Usual]);
    let gateway = twice(&server);
    gateway
        .get(&server.url(PATH))
        .send()
        .assert_body(200, &body);
    gateway.await_stored(&server.url(PATH));
    // The resumed transfer overlaps the bytes already received, to compare them.
    assert!(
        server
            .asked()
            .contains(&format!("REST {}", SIZE / 2 - (64 << 10))),
        "{:?}",
        server.asked()
    );
    assert_eq!(
        server.count("MDTM"),
        3,
        "size and date are checked again before the end"
    );
}

#[test]
fn cut_fetch_restarts_if_file_may_have_changed() {
    for dates in [
        ["20240101000000", "20240101000001"],
        ["20990101000000", "20990101000000"],
    ] {
        let (server, body) = server("RETR", vec![Act::Send(SIZE / 2, "426 broken"), Act::Usual]);
        server.script("MDTM", dates.map(|date| say(&format!("213 {date}"))).into());
        twice(&server)
            .get(&server.url(PATH))
            .send()
            .assert_body(200, &body);
        assert_eq!(server.count("REST"), 0);
    }
}

#[test]
fn server_without_rest_is_asked_for_whole_file() {
    let (server, body) = server("RETR", vec![Act::Send(SIZE / 2, "426 broken"), Act::Usual]);
    server.on("REST", say("502 not here"));
    twice(&server)
        .get(&server.url(PATH))
        .send()
        .assert_body(200, &body);
    assert_eq!((server.count("REST"), server.count("RETR")), (1, 2));
}

#[test]
fn bytes_of_two_files_are_never_combined() {
    // The server replies 350 to REST, but sends the file from its beginning.
    let (ignorant, body) = server(
        "RETR",
        vec![Act::Send(SIZE / 2, "426 broken"), Act::SendFromTheBeginning],
    );
    let gateway = twice(&ignorant);
    let answer = gateway.get(&ignorant.url(PATH)).send();
    answer.assert_broken();
    assert!(body.starts_with(&answer.body));
    gateway.assert_nothing_stored();
    // The file is replaced after the second metadata check, and before the second half.
    let (server, _) = server("RETR", vec![Act::Send(SIZE / 2, "426 broken"), Act::Usual]);
    server.script(
        "MDTM",
        vec![Act::Usual, Act::Usual, say("213 20240101000001")],
    );
    let gateway = twice(&server);
    gateway.get(&server.url(PATH)).send().assert_broken();
    gateway.assert_nothing_stored();
}
