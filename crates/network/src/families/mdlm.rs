//! MDLM (2406.07524), as kuleshov-group publishes it: a DiT that reads no time unless `time_conditioning` says so, full
//! attention, the mask in the last row.
//!
//! Read against `models/dit.py` and `diffusion.py` of kuleshov-group/mdlm (c112c52). Its samplers `ddpm`, `ddpm_cache` and
//! `analytic` are the policy `ancestral`: under the log-linear schedule they have one law. They end at time 1e-5 and take
//! or draw what is left there; here the last step draws it, at the time before.

use super::config::Config;
use super::dit::{self, Dit};
use super::{Family, FamilyFacts, Object, TokenRoles, hugging_face};
use crate::{NetworkError, NetworkSpec};
use aquatint_diffusion::ProcessKind;
use serde_json::json;

/// See the module.
#[derive(Debug)]
pub struct Mdlm;

/// Keys beside those that are read always.
const OTHERS: [&str; 2] = ["time_conditioning", "dropout"];

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts { names: &dit::NAMES, ..FamilyFacts::new("mdlm") };

impl Family for Mdlm {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        config.check_features(&dit::REQUIRED, &OTHERS)?;
        Dit::read(config)?.network("n_heads", ProcessKind::Masked)
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some([&dit::REQUIRED[..], &OTHERS].concat())
    }

    fn write_config(&self, spec: &NetworkSpec, _: &TokenRoles) -> Object {
        let mut config = Dit::of(spec).write();
        config.insert("model_type".to_owned(), FACTS.model_type.into());
        config.insert("architectures".to_owned(), json!(["MDLM"]));
        config.insert("dropout".to_owned(), 0.1.into());
        config
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        dit::roles(Config(config))
    }

    /// As its `configs/config.yaml` has it: 128 steps back along the process.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        file.entry("policy").or_insert(json!("ancestral"));
        file.entry("steps").or_insert(json!(128));
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
