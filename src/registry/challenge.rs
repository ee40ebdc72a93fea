//! Challenges in which a registry names its token service (RFC 7235, RFC 6750). The main type is
//! [`TokenService`].

use http_auth::ChallengeRef;
use http_auth::parser::ChallengeParser;
use url::form_urlencoded;

use super::repository::RepositoryName;
use crate::model::{Secret, Target};

/// Maximum length of a name of a service. Longer ones would not fit into a request.
const MAX_SERVICE_BYTES: usize = 256;

/// Name of this client in a form.
const CLIENT_ID: &str = "millpond";

/// The scheme whose challenges name a token service.
const BEARER: &str = "bearer";

/// The scheme whose challenges ask for a user name and a password (RFC 7617).
const BASIC: &str = "basic";

/// How a registry asks for a login.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LoginScheme {
    /// The registry accepts tokens of a service.
    Token(Box<TokenService>),
    /// The registry accepts user names and passwords itself.
    Password,
}

impl LoginScheme {
    /// Returns the scheme that the values of `WWW-Authenticate` name. Tokens come first, since
    /// they are valid for one repository only.
    #[must_use]
    pub fn find<'a>(values: impl IntoIterator<Item = &'a str> + Clone) -> Option<Self> {
        if let Some(service) = TokenService::find(values.clone()) {
            return Some(Self::Token(Box::new(service)));
        }
        challenges(values)
            .any(|challenge| challenge.scheme.eq_ignore_ascii_case(BASIC))
            .then_some(Self::Password)
    }
}

/// Service that gives tokens for a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenService {
    realm: Target,
    service: Option<String>,
}

impl TokenService {
    /// Returns the service that the values of `WWW-Authenticate` name, if they name one.
    #[must_use]
    pub fn find<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        challenges(values)
            .filter(|challenge| challenge.scheme.eq_ignore_ascii_case(BEARER))
            .find_map(|bearer| Self::read(&bearer))
    }

    fn read(bearer: &ChallengeRef<'_>) -> Option<Self> {
        let parameter = |name: &str| {
            let mut parameters = bearer.params.iter();
            let found = parameters.find(|(own, _)| own.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped())
        };
        let service = parameter("service");
        Some(Self {
            realm: Target::parse(&parameter("realm")?).ok()?,
            service: service.filter(|service| service.len() <= MAX_SERVICE_BYTES),
        })
    }

    /// Returns the URL at which a token is asked for by a form, and the form (OAuth 2.0 in the
    /// distribution token specification). The token reads a repository.
    #[must_use]
    pub fn refresh_form(&self, name: &RepositoryName, token: &Secret) -> (Target, Secret) {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token")
            .append_pair("client_id", CLIENT_ID)
            .append_pair("scope", &scope_of(name))
            .append_pair("refresh_token", token.expose());
        if let Some(service) = &self.service {
            form.append_pair("service", service);
        }
        (self.realm.clone(), form.finish().into())
    }

    /// Returns the URL at which a token to read a repository is asked for.
    #[must_use]
    pub fn token_url(&self, name: &RepositoryName) -> Option<Target> {
        let mut url = self.realm.url().clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            query.append_pair("scope", &scope_of(name));
        }
        Target::parse(url.as_str()).ok()
    }
}

/// Returns the challenges of all values. Those behind a syntax error are left out.
fn challenges<'a>(
    values: impl IntoIterator<Item = &'a str>,
) -> impl Iterator<Item = ChallengeRef<'a>> {
    let parse = |value| ChallengeParser::new(value).map_while(Result::ok);
    values.into_iter().flat_map(parse)
}

fn scope_of(name: &RepositoryName) -> String {
    format!("repository:{name}:pull")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url_of(value: &str) -> Option<String> {
        let name = RepositoryName::parse("mill/app").unwrap();
        let service = TokenService::find([value])?;
        Some(service.token_url(&name)?.as_str().to_owned())
    }

    #[test]
    fn token_comes_before_password() {
        let basic = "Basic realm=\"x\"";
        let bearer = "Bearer realm=\"https://auth.example.org/token\"";
        assert_eq!(LoginScheme::find([basic]), Some(LoginScheme::Password));
        let found = LoginScheme::find([basic, bearer]);
        assert!(matches!(found, Some(LoginScheme::Token(_))), "{found:?}");
        assert_eq!(LoginScheme::find(["Digest realm=\"x\""]), None);
        assert_eq!(LoginScheme::find([]), None);
    }

    #[test]
    fn challenges_name_token_services() {
        for (value, url) in [
            (
                "Bearer realm=\"https://auth.example.org/token\",service=\"registry.example.org\"",
                Some(
                    "https://auth.example.org/token?service=registry.example.org\
                     &scope=repository%3Amill%2Fapp%3Apull",
                ),
            ),
            (
                "Basic realm=\"x, y\", BEARER Realm=\"http://127.0.0.1:81/t?a=1\", scope=\"other\"",
                Some("http://127.0.0.1:81/t?a=1&scope=repository%3Amill%2Fapp%3Apull"),
            ),
            ("Basic realm=\"https://auth.example.org/\"", None),
            ("Bearer service=\"x\"", None),
            ("Bearer realm=\"https://user:word@auth.example.org/\"", None),
            ("Bearer realm=\"file:///etc/passwd\"", None),
            ("Bearer realm=\"/token\"", None),
            ("", None),
        ] {
            assert_eq!(url_of(value).as_deref(), url, "{value}");
        }
    }
}
