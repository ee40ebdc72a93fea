//! Tests of whole specs.

use super::*;

fn options() -> SpecOptions {
    let define = |text: &str| text.parse::<SpecDefine>().unwrap();
    SpecOptions {
        defines: vec![
            define("__crates_url https://crates.example.org/v1/"),
            define("__pypi_url https://pypi.example.org/source/"),
        ],
    }
}

fn list(spec: &str) -> Vec<SpecSource> {
    list_sources(spec.as_bytes(), &options()).unwrap().sources
}

/// Returns the URLs of a spec that defines a name and a version.
fn urls(lines: &str) -> Vec<String> {
    let spec = format!("Name: x\nVersion: 1.2~rc1\nURL: https://example.org/x\n{lines}\n");
    let urls = list(&spec).into_iter().flat_map(|source| source.urls);
    urls.map(|url| url.url).collect()
}

#[test]
fn macros_of_source_packages_resolve() {
    // The forms in which the macro packages of distributions document themselves.
    let short = "0123456789ab";
    let commit = format!("{short}cdef0123456789abcdef01234567");
    for (lines, expected) in [
        (
            "%global forgeurl https://github.example.org/o/x\n%global tag r1\n%forgemeta\n\
             URL: %{forgeurl}\nSource: %{forgesource}"
                .to_owned(),
            "https://github.example.org/o/x/archive/r1/x-r1.tar.gz".to_owned(),
        ),
        (
            "%global forgeurl0 https://gitlab.example.org/g/x\n\
             %global forgeurl1 https://pagure.example.org/n/y\n%global version1 3\n\
             %forgemeta -a\nSource0: %{forgesource0}\nSource1: %{forgesource1}"
                .to_owned(),
            "https://gitlab.example.org/g/x/-/archive/1.2~rc1/x-1.2~rc1.tar.bz2 \
             https://pagure.example.org/n/y/archive/3/n-y-3.tar.gz"
                .to_owned(),
        ),
        (
            format!(
                "%global forgeurl https://bitbucket.example.org/o/x\n%global commit {commit}\n\
                 %global archiveext zip\n%forgemeta\nSource: %{{forgesource}}"
            ),
            format!("https://bitbucket.example.org/o/x/get/{commit}.zip"),
        ),
        (
            "%global goipath github.example.org/o/g/v2\n%global tag v1.2-rc1\n%gometa -L -f\n\
             Source0: %{gosource}\nSource1: %{archivename}-vendor.tar.bz2"
                .to_owned(),
            "https://github.example.org/o/g/archive/v1.2-rc1/g-1.2-rc1.tar.gz".to_owned(),
        ),
        (
            "%global crate y\nSource: %{crates_source}".to_owned(),
            "https://crates.example.org/v1/y/1.2-rc1/download".to_owned(),
        ),
        (
            "%global crate y\n%global crate_version 2.0.0-beta.1\nSource: %{crates_source}"
                .to_owned(),
            "https://crates.example.org/v1/y/2.0.0-beta.1/download".to_owned(),
        ),
        (
            "Source: %{crates_source}".to_owned(),
            "https://crates.example.org/v1/x/1.2-rc1/download".to_owned(),
        ),
        (
            "Version: %R_rpm_version 1.0-3\nSource: %{url}/%{version}.tar.gz".to_owned(),
            "https://example.org/x/1.0.3.tar.gz".to_owned(),
        ),
    ] {
        assert_eq!(urls(&lines).join(" "), expected, "{lines}");
    }
    let spec = "Name: x\nVersion: 1.2\n%global forgeurl https://github.example.org/o/g\n\
                Source1: %{archivename}-vendor.tar.bz2\n";
    let local = list(spec).remove(0).local;
    assert_eq!(local.as_deref(), Some("g-1.2-vendor.tar.bz2"));
}

#[test]
fn own_and_built_in_macros_resolve() {
    for (lines, expected) in [
        (
            "Source0: %{url}/%{name}-%{version}.tar.gz",
            "https://example.org/x/x-1.2~rc1.tar.gz",
        ),
        (
            "%global c abcdefghij\n%global s %(c=%{c}; echo ${c:0:7})\nSource: %{url}/%{s}.zip",
            "https://example.org/x/abcdefg.zip",
        ),
        (
            "%define v() %{1}.%{2}\nSource: %{url}/%{v 3 4}.zip",
            "https://example.org/x/3.4.zip",
        ),
        (
            "%define a \\\n  b\nSource: %{url}/%a.zip",
            "https://example.org/x/b.zip",
        ),
        (
            "Source: %{url}/%{?no:z}%{!?no:y}%{?version:v}.zip",
            "https://example.org/x/yv.zip",
        ),
        (
            "Source: %{url}/%{version_no_tilde}.zip",
            "https://example.org/x/1.2-rc1.zip",
        ),
        (
            "Source: %{url}/%{version_no_tilde %{quote:%nil}}.zip",
            "https://example.org/x/1.2rc1.zip",
        ),
        (
            "Source: %{url}/%{gsub %{version} ~ _}.zip",
            "https://example.org/x/1.2_rc1.zip",
        ),
        ("Source: %{url}/%[1 + 1].zip", "https://example.org/x/2.zip"),
        (
            "Source: %crates_source z 3.0",
            "https://crates.example.org/v1/z/3.0/download",
        ),
        (
            "%global pypi_name Yy\nSource: %{pypi_source}",
            "https://pypi.example.org/source/Y/Yy/Yy-1.2rc1.tar.gz",
        ),
        (
            "Source: %{url}/%{stable_kf6}/%{majmin_ver_kf6}/x.tar.xz",
            "https://example.org/x/stable/1.2~rc1/x.tar.xz",
        ),
        (
            "%bcond_without a\nSource: %{url}/%{with a}%{without a}.zip",
            "https://example.org/x/10.zip",
        ),
        (
            "%bcond b 1\nSource: %{url}/%{with b}.zip",
            "https://example.org/x/1.zip",
        ),
        (
            "Source: %{url}/%{late}.zip\n%global late z",
            "https://example.org/x/z.zip",
        ),
        (
            "Source: %{url}/get?f=x-1.zip#/y.zip",
            "https://example.org/x/get?f=x-1.zip",
        ),
        (
            "%sourcelist\n%{url}/a.zip\n%description",
            "https://example.org/x/a.zip",
        ),
        (
            "%description\nSource: https://example.org/no\n%package a\nSource: %{url}/b.zip",
            "https://example.org/x/b.zip",
        ),
        (
            "Source: %{URL}/%{NAME}-%{VERSION}.zip",
            "https://example.org/x/x-1.2~rc1.zip",
        ),
        (
            "Source: %{url}/o%2Fx%20%C3%A9-%{version}.zip",
            "https://example.org/x/o%2Fx%20%C3%A9-1.2~rc1.zip",
        ),
        (
            "Source: https://example.org/100%%25.zip",
            "https://example.org/100%25.zip",
        ),
    ] {
        assert_eq!(urls(lines), [expected], "{lines}");
    }
}

#[test]
fn all_branches_are_listed() {
    let found = list(
        "Name: x\n%if 0%{?fedora} >= 30\n%global v 2\n%else\n%global v 1\n%endif\n\
         Source0: https://example.org/x-%{v}.zip\n%ifarch aarch64\n\
         Source1: https://example.org/arm.zip\n%if 0\n%else\n\
         Source2: https://example.org/deep.zip\n%endif\n%endif\n",
    );
    let urls: Vec<_> = found.iter().flat_map(|source| &source.urls).collect();
    let urls: Vec<_> = urls
        .iter()
        .map(|url| (&url.url[..], url.in_other_branch))
        .collect();
    assert_eq!(
        urls,
        [
            ("https://example.org/x-1.zip", false),
            ("https://example.org/x-2.zip", true),
            ("https://example.org/arm.zip", true),
            ("https://example.org/deep.zip", true),
        ]
    );
}

#[test]
fn unresolved_source_names_macro_and_line() {
    let note = |lines: &str| {
        let found = list(&format!("Name: x\n{lines}"));
        assert!(found[0].urls.is_empty(), "{lines}");
        let notes = found[0].unresolved.iter().map(ToString::to_string);
        notes.collect::<Vec<_>>().join("; ")
    };
    for (lines, expected) in [
        (
            "Source: https://example.org/%{none}.zip",
            "%{none} in line 2: is not defined",
        ),
        (
            "%global d %(date +%%Y)\n\nSource: https://example.org/%{d}",
            "%(date +%%Y) in line 2: is a shell command, which Millpond does not run",
        ),
        (
            "Source: git+https://example.org/x",
            "git+https:// in line 2: cannot be fetched as a file",
        ),
        (
            "Version: {{ version }}\nSource: https://example.org/%{version}.zip",
            "https:// in line 3: the URL contains a blank",
        ),
        (
            "Source: https://example.org/%{%a}.zip",
            "the value in line 2: contains a macro without a name",
        ),
        (
            "Source: %{lua: print(1)}",
            "%{lua:...} in line 2: is a Lua script, which Millpond does not run",
        ),
        (
            "%define a %b\n%define b %a\nSource: https://example.org/%a",
            "%a in line 4: macros are nested more than 64 deep",
        ),
        (
            "%global crate y\nSource: %{crates_source a %{none}}",
            "%{none} in line 3: is not defined",
        ),
        (
            "%global forgeurl https://example.org/o/x\nVersion: 1\nSource: %{forgesource}",
            "the source of kind forge in line 4: cannot be computed of these values",
        ),
        (
            "Version: 1\nSource: %{forgesource}",
            "%{forgeurl} in line 3: is not defined",
        ),
        (
            "Name: R-y\nVersion: %R_rpm_version 1.0\nSource: %{cran_source}",
            "%{cran_source} in line 4: is not defined",
        ),
    ] {
        assert_eq!(note(lines), expected, "{lines}");
    }
}

#[test]
fn macros_that_grow_are_bounded() {
    let mut spec = "Name: x\n%define m0 aaaaaaaaaa\n".to_owned();
    for level in 1..40 {
        let below = format!("%m{}", level - 1).repeat(10);
        spec.extend(["%define m", &level.to_string(), " ", &below, "\n"]);
    }
    spec += "Source: https://example.org/%m39\n";
    for _ in 0..1000 {
        spec += "Source: https://example.org/%m39\n";
    }
    let found = list(&spec);
    assert!(found.iter().all(|source| source.urls.is_empty()));
    let deep = format!(
        "Name: x\nSource: https://example.org/{}a",
        "%{?a:".repeat(100_000)
    );
    assert_eq!(list(&deep).len(), 1);
}

#[test]
fn functions_and_commands_are_bounded() {
    let long = "%global a aaaaaaaaaaaaaaaa\n".to_owned()
        + &"%global a %a%a%a%a%a%a%a%a\n".repeat(3)
        + "%global a %a%a%a%a%a%a%a%a%a%a\n";
    let sed = "s/a/aaaa/g;".repeat(18) + "s/a/b/";
    let variables = "a=${a//a/aaaaaaaaaaaaaaaa}; ".repeat(18);
    let joined = "a=${a}${a}${a}${a}; ".repeat(18);
    let awk = "| awk -Fb '{print $1$1$1$1}' ".repeat(15);
    for body in [
        "%{gsub %a a %a}".to_owned(),
        "%{rep %a 1000}".to_owned(),
        "%{version_no_tilde %a ~~~~}%{version_no_tilde %{gsub %a a ~}}".to_owned(),
        format!("%(echo a | sed '{sed}')"),
        format!("%(a=a; {variables} echo $a)"),
        format!("%(a=a; {joined} echo $a)"),
        format!("%(echo a {awk})"),
    ] {
        let spec = format!("Name: x\n{long}Source: https://example.org/{body}\n");
        let found = list(&spec);
        assert!(found[0].urls.is_empty(), "{body}");
        assert_eq!(found[0].unresolved.len(), 1, "{:?}", found[0].unresolved);
    }
    // A value that no URL has is not kept: 50,000 of them would be many.
    let spec = format!(
        "Name: x\n{long}{}",
        "Source: https://example.org/%a\n".repeat(500)
    );
    let found = list(&spec);
    assert_eq!(
        found[0].unresolved[0].to_string(),
        "the value in line 7: is too long for a URL"
    );
}

#[test]
fn encodings_and_line_ends_are_kept() {
    let spec = b"\xef\xbb\xbfName: x\r\nVersion: 1\r\n%if 1\r\n%global v %{version}\r\n%endif\r\n\
        Source0: https://example.org/x-%{v}.zip\r\nSource1: https://example.org/caf\xe9-1.zip\r\n\
        Patch0: https://example.org/a-1.patch";
    let listed = list_sources(spec, &options()).unwrap();
    let urls: Vec<_> = listed.sources.iter().map(|source| &source.urls).collect();
    assert_eq!(urls[0][0].url, "https://example.org/x-1.zip");
    assert_eq!(urls[2][0].url, "https://example.org/a-1.patch");
    let notes = &listed.sources[1].unresolved;
    assert_eq!(notes[0].to_string(), "the value in line 7: is not UTF-8");
    let rewritten = rewrite_sources(spec, "http://gw", &options()).unwrap();
    let undone = undo_rewrite(&rewritten.bytes, "http://gw", &options()).unwrap();
    assert_eq!(rewritten.bytes.len(), spec.len() + 3 * "http://gw/".len());
    assert_eq!(undone.bytes, spec);
}

#[test]
fn texts_that_are_no_spec_are_refused() {
    let refused = |bytes: &[u8]| list_sources(bytes, &options()).unwrap_err();
    assert_eq!(refused(b"Name: x\0"), SpecError::Binary);
    assert_eq!(refused(b"hello\n"), SpecError::NoName);
    assert_eq!(refused(b""), SpecError::NoName);
    let large = vec![b'\n'; MAX_SPEC_BYTES + 1];
    assert_eq!(refused(&large), SpecError::TooLarge(MAX_SPEC_BYTES));
    let latin = b"Name: x\nSummary: caf\xe9\nSource: https://example.org/x.zip\n";
    let listed = list_sources(latin, &options()).unwrap();
    assert_eq!(listed.sources[0].urls[0].url, "https://example.org/x.zip");
}

#[test]
fn rewriting_changes_only_url_bytes() {
    let spec = b"Name: x\nVersion: 1\nSummary: caf\xe9\n%global v %{version}\n\
        Source0:\thttps://example.org/%{name}-%{v}.zip  \r\nSource1: local.zip\n\
        Patch0: %{?no}https://example.org/a.patch#/b.patch\nSource2: https://example.org/%{no}\n";
    let rewritten = rewrite_sources(spec, "http://gw:1", &options()).unwrap();
    let expected = String::from_utf8_lossy(spec)
        .replace("\thttps://", "\thttp://gw:1/https://")
        .replace("%{?no}https://", "http://gw:1/%{?no}https://")
        .replace("Source2: https://", "Source2: http://gw:1/https://");
    assert_eq!(String::from_utf8_lossy(&rewritten.bytes), expected);
    let outcomes: Vec<_> = rewritten
        .sources
        .iter()
        .map(|(_, outcome)| *outcome)
        .collect();
    assert_eq!(outcomes, [RewriteOutcome::Changed; 3]);
    let again = rewrite_sources(&rewritten.bytes, "http://gw:1", &options()).unwrap();
    assert_eq!(again.bytes, rewritten.bytes);
    assert_eq!(again.sources[0].1, RewriteOutcome::Unchanged);
    let undone = undo_rewrite(&rewritten.bytes, "http://gw:1", &options()).unwrap();
    assert_eq!(undone.bytes, spec);
}
