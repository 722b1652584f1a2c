//! The arguments of commands that are about one configured model.

use crate::config::{Config, ModelConfig};
use anyhow::bail;
use std::path::PathBuf;

// No doc comment: clap would take it for what the command says of itself.
#[derive(Debug, clap::Args)]
pub(super) struct ModelArgs {
    /// The configuration file (TOML)
    pub config: PathBuf,
    /// Name of the model
    #[arg(long)]
    pub model: String,
    /// Its namespace, when several have a model of this name
    #[arg(long)]
    pub namespace: Option<String>,
}

impl ModelArgs {
    /// The configured model, and its place among them.
    ///
    /// # Errors
    /// When there is none of this name, or more than one.
    pub fn find<'a>(&self, config: &'a Config) -> anyhow::Result<(usize, &'a ModelConfig)> {
        let fits = |(_, model): &(usize, &ModelConfig)| {
            model.id.name == self.model
                && self.namespace.as_ref().is_none_or(|one| *one == model.id.namespace)
        };
        let found: Vec<(usize, &ModelConfig)> = config.models.iter().enumerate().filter(fits).collect();
        match found[..] {
            [one] => Ok(one),
            [] => bail!("model {} is not configured", self.model),
            _ => bail!("several namespaces have a model {}: add --namespace", self.model),
        }
    }
}
