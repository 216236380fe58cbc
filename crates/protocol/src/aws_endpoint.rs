//! The closed list of AWS's regional S3 host names, for a proxy that clients reach by DNS
//! redirection.
//!
//! Without a configured backend, the name in `Host` selects the endpoint, and the proxy connects to
//! the real endpoint of that name. Only names under which AWS serves the plain S3 API are therefore
//! listed: regional, dual-stack and FIPS names, and the two global ones. Access points, Object
//! Lambda, Transfer Acceleration, S3 Express, control and website endpoints are other services and
//! are deliberately absent, as are AWS's partitions without a public network.
//!
//! A region that opens later has to be added here.

/// One of AWS's S3 endpoints: region, domain and form of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AwsEndpoint {
    region: &'static str,
    suffix: &'static str,
    form: Form,
}

/// Forms of a regional name; `{}` is the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Form {
    /// `s3.{}`
    Regional,
    /// `s3-{}`, an older form from before 2019.
    Dashed,
    /// `s3.dualstack.{}`
    DualStack,
    /// `s3-fips.{}`
    Fips,
    /// `s3-fips.dualstack.{}`
    FipsDualStack,
    /// `s3`, which is in us-east-1.
    Global,
    /// `s3-external-1`, which is in us-east-1.
    External,
}

impl Form {
    const REGIONAL: [Self; 5] = [
        Self::FipsDualStack,
        Self::DualStack,
        Self::Fips,
        Self::Regional,
        Self::Dashed,
    ];
}

const COMMERCIAL: &str = "amazonaws.com";
const CHINA: &str = "amazonaws.com.cn";
const EUROPEAN_SOVEREIGN: &str = "amazonaws.eu";
const US_EAST_1: &str = "us-east-1";

#[rustfmt::skip]
const REGIONS: &[(&str, &[&str])] = &[
    (COMMERCIAL, &[
        "af-south-1", "ap-east-1", "ap-east-2", "ap-northeast-1", "ap-northeast-2",
        "ap-northeast-3", "ap-south-1", "ap-south-2", "ap-southeast-1", "ap-southeast-2",
        "ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
        "ca-central-1", "ca-west-1", "eu-central-1", "eu-central-2", "eu-north-1", "eu-south-1",
        "eu-south-2", "eu-west-1", "eu-west-2", "eu-west-3", "il-central-1", "me-central-1",
        "me-south-1", "mx-central-1", "sa-east-1", US_EAST_1, "us-east-2", "us-gov-east-1",
        "us-gov-west-1", "us-west-1", "us-west-2",
    ]),
    (CHINA, &["cn-north-1", "cn-northwest-1"]),
    (EUROPEAN_SOVEREIGN, &["eusc-de-east-1"]),
];

/// Regions that have FIPS endpoints.
#[rustfmt::skip]
const FIPS_REGIONS: &[&str] = &[
    "ca-central-1", "ca-west-1", US_EAST_1, "us-east-2", "us-gov-east-1", "us-gov-west-1",
    "us-west-1", "us-west-2",
];

/// Regions that still serve the dashed form.
#[rustfmt::skip]
const DASHED_REGIONS: &[&str] = &[
    "ap-northeast-1", "ap-southeast-1", "ap-southeast-2", "eu-central-1", "eu-west-1",
    "sa-east-1", "us-east-2", "us-gov-west-1", "us-west-1", "us-west-2", "ap-south-1",
    "ap-northeast-2", "ca-central-1", "eu-west-2", "eu-west-3",
];

impl AwsEndpoint {
    /// Domains of all endpoints.
    pub const SUFFIXES: [&str; 3] = [COMMERCIAL, CHINA, EUROPEAN_SOVEREIGN];

    /// Region for the credential scope of signatures.
    #[must_use]
    pub fn region(&self) -> &'static str {
        self.region
    }

    /// Host name of the endpoint in lower case, without a bucket.
    #[must_use]
    pub fn host(&self) -> String {
        let Self {
            region,
            suffix,
            form,
        } = self;
        match form {
            Form::Regional => format!("s3.{region}.{suffix}"),
            Form::Dashed => format!("s3-{region}.{suffix}"),
            Form::DualStack => format!("s3.dualstack.{region}.{suffix}"),
            Form::Fips => format!("s3-fips.{region}.{suffix}"),
            Form::FipsDualStack => format!("s3-fips.dualstack.{region}.{suffix}"),
            Form::Global => format!("s3.{suffix}"),
            Form::External => format!("s3-external-1.{suffix}"),
        }
    }

    /// All endpoints of the list.
    pub fn all() -> impl Iterator<Item = Self> {
        let global = [Form::Global, Form::External].map(|form| Self {
            region: US_EAST_1,
            suffix: COMMERCIAL,
            form,
        });
        let regional = REGIONS.iter().flat_map(|(suffix, regions)| {
            regions.iter().flat_map(|region| {
                Form::REGIONAL
                    .into_iter()
                    .filter(|form| form.serves(region))
                    .map(|form| Self {
                        region,
                        suffix,
                        form,
                    })
            })
        });
        global.into_iter().chain(regional)
    }

    /// Finds the endpoint for a host (in lower case, without a port), and the bucket before its
    /// name, if any.
    #[must_use]
    pub(crate) fn find(host: &str) -> Option<(Self, Option<&str>)> {
        Self::all().find_map(|endpoint| match host.strip_suffix(&endpoint.host())? {
            "" => Some((endpoint, None)),
            // No dot before the endpoint's name: another host that only ends in the same letters.
            // The `?` moves on to the next endpoint.
            before => Some((endpoint, Some(before.strip_suffix('.')?))),
        })
    }
}

impl Form {
    fn serves(self, region: &str) -> bool {
        match self {
            Self::Regional | Self::DualStack => true,
            Self::Fips | Self::FipsDualStack => FIPS_REGIONS.contains(&region),
            Self::Dashed => DASHED_REGIONS.contains(&region),
            Self::Global | Self::External => false,
        }
    }
}

/// Whether a host (in lower case, not on the list) is nevertheless one of AWS's S3 names: one of
/// another S3 service, or of a region that the list lacks.
#[must_use]
pub(crate) fn is_other_s3_service(host: &str) -> bool {
    let suffixes = REGIONS.iter().map(|(suffix, _)| suffix);
    suffixes
        .filter_map(|suffix| host.strip_suffix(suffix)?.strip_suffix('.'))
        // The label can be anywhere before the domain: `bucket.s3-accelerate`,
        // `name.s3-accesspoint.region`.
        .any(|labels| {
            let mut labels = labels.split('.');
            labels.any(|label| {
                label == "s3" || label.starts_with("s3-") || label.starts_with("s3express")
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_found_by_its_own_name_and_by_a_buckets() {
        for endpoint in AwsEndpoint::all() {
            let host = endpoint.host();
            assert_eq!(AwsEndpoint::find(&host), Some((endpoint, None)));
            let with_bucket = format!("my.bucket.{host}");
            assert_eq!(
                AwsEndpoint::find(&with_bucket),
                Some((endpoint, Some("my.bucket")))
            );
        }
    }

    #[test]
    fn other_services_and_look_alikes_are_not_on_the_list() {
        for host in [
            "b.s3-accelerate.amazonaws.com",
            "b.s3-accelerate.dualstack.amazonaws.com",
            "ap-1234.s3-accesspoint.eu-west-1.amazonaws.com",
            "ap-1234.s3-object-lambda.eu-west-1.amazonaws.com",
            "b--use1-az4--x-s3.s3express-use1-az4.us-east-1.amazonaws.com",
            "123.s3-control.us-east-1.amazonaws.com",
            "b.s3-website-us-east-1.amazonaws.com",
            "s3.nowhere-1.amazonaws.com",
            // No dot before the endpoint's name.
            "xs3.eu-west-1.amazonaws.com",
            "s3.eu-west-1.amazonaws.com.example.org",
            // This region has no FIPS endpoint.
            "s3-fips.eu-west-1.amazonaws.com",
            "amazonaws.com",
            "",
        ] {
            assert_eq!(AwsEndpoint::find(host), None, "{host}");
        }
    }
}
