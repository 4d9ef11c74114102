//! Texts that an engine writes over a prediction in closed form.

use aquatint_compute::ReadRow;
use aquatint_diffusion::{Canvas, Layout, Linear, Masked, TokenId, WordVectors};
use aquatint_generate::{Outcome, Request, Settings, SettingsBuilder, generate};
use aquatint_network::{
    AttentionSpec, FeedForwardSpec, HostDenoiser, LayerSpec, NetworkError, NetworkInput, NetworkSpec,
};
use aquatint_provenance::{SchemeKind, WatermarkKey};
use std::ops::ControlFlow;
use std::sync::Arc;

pub(crate) const MASK: TokenId = 0;

/// Tokens that do not hang on each other, each of this law, whose entry 0 is the mask's and has to be 0.
pub(crate) struct Independent {
    spec: NetworkSpec,
    law: Vec<f64>,
}

impl Independent {
    pub(crate) fn new(law: Vec<f64>) -> Self {
        let layer = LayerSpec::new(AttentionSpec::new(1, 1, 1), FeedForwardSpec::new(1));
        let spec = NetworkSpec {
            context_length: 1024,
            attention: Layout::Full,
            mask_token: Some(MASK),
            ..NetworkSpec::new(law.len(), 1, vec![layer])
        };
        Self { spec, law }
    }

    /// All tokens but the mask equally likely.
    pub(crate) fn even(size: usize) -> Self {
        let share = |token: usize| if token == 0 { 0.0 } else { 1.0 / (size - 1) as f64 };
        Self::new((0..size).map(share).collect())
    }
}

impl HostDenoiser for Independent {
    fn host_spec(&self) -> &NetworkSpec {
        &self.spec
    }

    fn host_word_vectors(&self) -> WordVectors {
        WordVectors::default()
    }

    fn host_rows(&self, _: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        for index in 0..rows.len() {
            read(index, &mut self.law.iter().map(|p| p.ln() as f32).collect::<Vec<f32>>());
        }
        Ok(())
    }
}

/// A key of a scheme, one of many.
pub(crate) fn key(kind: SchemeKind, number: u64) -> WatermarkKey {
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    WatermarkKey::of_bytes(kind, bytes).expect("the settings are good")
}

/// Writes texts of so many tokens, of which each has its own seed, and each may have its own key.
pub(crate) fn texts(
    denoiser: &Independent,
    length: usize,
    settings: &SettingsBuilder,
    keys: &[Option<WatermarkKey>],
) -> Vec<Vec<TokenId>> {
    let request = |(number, key): (usize, &Option<WatermarkKey>)| {
        let mut canvas = Canvas::new();
        canvas.push_open(length, false, MASK);
        let settings: Settings = settings.clone().seed(number as u64).build().expect("the settings are good");
        let watermark = key.as_ref().map(|key| -> Arc<dyn aquatint_generate::Watermark> { key.scheme() });
        Request::new(canvas, settings.with_watermark(watermark))
    };
    let requests: Vec<Request> = keys.iter().enumerate().map(request).collect();
    let process = Masked::new(MASK, Arc::new(Linear));
    let outcomes = generate(denoiser, &process, &requests, &mut |_, _| ControlFlow::Continue(())).into_iter();
    outcomes.map(|outcome| outcome.map(|Outcome { tokens, .. }| tokens).expect("the request is good")).collect()
}
