//! Makes a certificate authority.
//!
//! The main function is [`create_authority`].

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
};

use super::authority::{CERTIFICATE_FILE, CertificateAuthority, KEY_FILE};
use super::error::{AuthorityError, MintError};
use super::leaf::{CLOCK_SKEW, certificate_date};

/// How long a certificate authority is valid. Another one needs work at every client.
const LIFETIME: Duration = Duration::from_hours(10 * 365 * 24);

/// Mode of the key file. Only its owner can read it.
const KEY_MODE: u32 = 0o600;

/// Mode of the certificate file, which is no secret.
const CERTIFICATE_MODE: u32 = 0o640;

/// Mode of the folder, as of all new folders.
const FOLDER_MODE: u32 = 0o750;

/// Makes a certificate authority for exactly these hosts in a folder, and loads it.
///
/// # Errors
/// [`AuthorityError`] if there are no hosts, the folder has a certificate authority already, or its
/// files cannot be written.
pub fn create_authority(
    folder: &Path,
    hosts: &BTreeSet<String>,
) -> Result<CertificateAuthority, AuthorityError> {
    if hosts.is_empty() {
        return Err(AuthorityError::NoHosts);
    }
    let key = KeyPair::generate().map_err(MintError::from)?;
    let params = authority_params(hosts)?;
    let certificate = params.self_signed(&key).map_err(MintError::from)?;
    let unwritable = |file: &Path| {
        let file = file.to_owned();
        move |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => AuthorityError::Exists(file),
            _ => AuthorityError::Unwritable { file, error },
        }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(folder)
        .map_err(unwritable(folder))?;
    let (file, key_file) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
    if file.exists() {
        return Err(AuthorityError::Exists(file));
    }
    // The key comes first: of two commands at the same time, one fails here and writes nothing.
    write_new(&key_file, &key.serialize_pem(), KEY_MODE).map_err(unwritable(&key_file))?;
    if let Err(error) = write_new(&file, &certificate.pem(), CERTIFICATE_MODE) {
        // The key is this command's own, and of no use without its certificate.
        drop(fs_err::remove_file(&key_file));
        return Err(unwritable(&file)(error));
    }
    // A power cut must not leave a folder without one of the files.
    let synced = fs_err::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(unwritable(folder))?;
    CertificateAuthority::load(folder)
}

/// Returns the certificate of an authority for exactly these hosts.
fn authority_params(hosts: &BTreeSet<String>) -> Result<CertificateParams, MintError> {
    let mut params = CertificateParams::default();
    // Clients that trust several authorities of one name try the wrong one first.
    let number: u32 = rand::random();
    params.distinguished_name = DistinguishedName::new();
    let name = format!("Millpond interception CA {number:08x}");
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = certificate_date(now - CLOCK_SKEW)?.to_datetime();
    params.not_after = certificate_date(now + LIFETIME)?.to_datetime();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let addresses = [
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    ];
    let permitted = hosts.iter().cloned().map(GeneralSubtree::DnsName);
    let excluded = addresses.map(|address| {
        let all = CidrSubnet::from_addr_prefix(address, 0);
        GeneralSubtree::IpAddress(all)
    });
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted.collect(),
        excluded_subtrees: excluded.to_vec(),
    });
    Ok(params)
}

/// Writes a file that must not exist, and makes it durable.
fn write_new(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut opened = options.write(true).create_new(true).mode(mode).open(file)?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()
}
