//! Macros that distributions define for sources, as data, and the few macros of RPM that occur in
//! URLs.
//!
//! `%{__compose:kind|field|...}` calls [`compose`](super::compose). No registry is named here:
//! `__crates_url` and `__pypi_url` are defined by the user, as distributions define them.

use super::macro_table::{MacroDefinition, MacroTable, Parameters};
use super::options::SpecOptions;

/// Name, parameters and body. The bodies are written as RPM macros.
const STANDARD: [(&str, Parameters, &str); 27] = {
    use Parameters::{None, Some};
    [
        // Rust, Python, Go, forges.
        (
            "crates_source",
            Some,
            "%{__compose:crate|%{__crates_url}|%{?1}%{!?1:%{?crate}%{!?crate:%{name}}}|\
             %{?2}%{!?2:%{?crate_version}%{!?crate_version:%{version}}}}",
        ),
        (
            "pypi_source",
            Some,
            "%{__compose:pypi|%{__pypi_url}|\
             %{?1}%{!?1:%{?srcname}%{!?srcname:%{?pypi_name}%{!?pypi_name:%{name}}}}|\
             %{?2}%{!?2:%{version}}|%{?3}%{!?3:tar.gz}}",
        ),
        (
            "gourl",
            None,
            "%{?forgeurl}%{!?forgeurl:https://%{goipath}}",
        ),
        (
            "__forge_fields",
            None,
            "%{?goipath:%{gourl}}%{!?goipath:%{forgeurl0}}|\
             %{?tag0}%{!?tag0:%{?tag}}|%{?commit0}%{!?commit0:%{?commit}}|\
             %{?branch0}%{!?branch0:%{?branch}}|%{version}|%{?archiveext}",
        ),
        ("gosource", Some, "%{forgesource}"),
        ("forgesource", Some, "%{__compose:forge|%{__forge_fields}}"),
        (
            "archivename",
            None,
            "%{__compose:archive|%{__forge_fields}}",
        ),
        ("forgesource0", None, "%{forgesource}"),
        ("forgesource1", None, FORGE_1),
        ("forgesource2", None, FORGE_2),
        ("forgesource3", None, FORGE_3),
        ("forgeurl0", None, "%{forgeurl}"),
        // KDE, versions.
        ("stable_kf5", None, "%{__compose:stability|%{version}}"),
        ("stable_kf6", None, "%{__compose:stability|%{version}}"),
        ("majmin_ver_kf5", None, "%{__compose:parts|%{version}|2}"),
        ("majmin_ver_kf6", None, "%{__compose:parts|%{version}|2}"),
        ("maj_ver_kf5", None, "%{__compose:parts|%{version}|1}"),
        ("maj_ver_kf6", None, "%{__compose:parts|%{version}|1}"),
        (
            "version_no_tilde",
            Some,
            "%{__compose:no_tilde|%{?2}%{!?2:%{version}}|%{?1}%{!?1:-}}",
        ),
        // The version of R has dashes.
        ("R_rpm_version", Some, "%{gsub %{1} - .}"),
        // Declarations without a text.
        ("forgemeta", Some, ""),
        ("gometa", Some, ""),
        ("fontmeta", Some, ""),
        ("dnl", Some, ""),
        // The machine: all architectures have the same sources, apart from few.
        ("_arch", None, "x86_64"),
        ("_target_cpu", None, "x86_64"),
        ("_os", None, "linux"),
    ]
};

const FORGE_1: &str = "%{__compose:forge|%{forgeurl1}|%{?tag1}|%{?commit1}|%{?branch1}|\
     %{?version1}|%{?archiveext1}}";
const FORGE_2: &str = "%{__compose:forge|%{forgeurl2}|%{?tag2}|%{?commit2}|%{?branch2}|\
     %{?version2}|%{?archiveext2}}";
const FORGE_3: &str = "%{__compose:forge|%{forgeurl3}|%{?tag3}|%{?commit3}|%{?branch3}|\
     %{?version3}|%{?archiveext3}}";

/// Returns the macros that are defined at the start of a spec.
pub fn initial_macros(options: &SpecOptions) -> MacroTable {
    let mut table = MacroTable::default();
    for (name, parameters, body) in STANDARD {
        let definition = MacroDefinition {
            body: body.into(),
            parameters,
            line: 0,
        };
        table.define(name, definition);
    }
    for define in &options.defines {
        table.set(&define.name, &define.body, 0);
    }
    table
}
