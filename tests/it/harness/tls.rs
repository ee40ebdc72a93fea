//! A certificate authority for tests.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tempfile::TempDir;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// An authority that signs a certificate for `localhost` and 127.0.0.1, and writes its own
/// to a file for clients.
pub struct Authority {
    folder: TempDir,
    config: Arc<ServerConfig>,
}

impl Authority {
    pub fn new() -> Self {
        Self::with_leaf_until(4000)
    }

    /// Creates an authority whose origin certificate expired in 2020.
    pub fn with_expired_leaf() -> Self {
        Self::with_leaf_until(2020)
    }

    fn with_leaf_until(year: i32) -> Self {
        let mut own = CertificateParams::new(Vec::new()).expect("no names are valid names");
        own.distinguished_name
            .push(DnType::CommonName, "Test authority");
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        own.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let own_key = KeyPair::generate().expect("a key can be made");
        let own_certificate = own.self_signed(&own_key).expect("a key can sign");

        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut leaf = CertificateParams::new(names).expect("the names are valid");
        leaf.distinguished_name
            .push(DnType::CommonName, "Test origin");
        leaf.not_after = date_time_ymd(year, 1, 1);
        let leaf_key = KeyPair::generate().expect("a key can be made");
        let leaf = leaf
            .signed_by(&leaf_key, &Issuer::new(own, own_key))
            .expect("the authority can sign");

        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("ca.pem"), own_certificate.pem())
            .expect("the folder can be written");
        let pair = [leaf.pem(), leaf_key.serialize_pem()].concat();
        std::fs::write(folder.path().join("leaf.pem"), pair).expect("the folder can be written");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .expect("certificate and key belong together");
        Self {
            folder,
            config: Arc::new(config),
        }
    }

    /// Creates a server with this chain of certificates, the own one first. Clients trust the
    /// certificates of `trusted`, in PEM.
    pub fn serving(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        trusted: &str,
    ) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        std::fs::write(folder.path().join("ca.pem"), trusted).expect("the folder can be written");
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider knows the default versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("certificate and key belong together");
        Self {
            folder,
            config: Arc::new(config),
        }
    }

    /// Returns the CA certificate file for clients.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Returns the file with the signed certificate and its key.
    pub fn leaf_file(&self) -> PathBuf {
        self.folder.path().join("leaf.pem")
    }

    pub(super) fn server_config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }
}
