//! Guards of a model: what it is given is judged when it is made ready and when it is requested, and each block that it fills.

use super::Model;
use crate::Error;
use aquatint_diffusion::Canvas;
use aquatint_generate::Audit;
use aquatint_guard::{CanvasAudit, Guards, Passage};
use aquatint_vocabulary::TemplateCanvas;
use std::sync::Arc;

impl Model {
    /// Has these guards judge all given text that is made ready or requested from now on, and each block that a request of this
    /// model fills.
    ///
    /// ```
    /// use aquatint::guard::{Guards, WordList};
    /// use aquatint::{Error, Model, SamplingOptions};
    /// use std::sync::Arc;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let list = WordList::parse("words", "pick a lock")?;
    /// let model = Model::open("tales")?.with_guards(Some(Guards::new(vec![Arc::new(list)], Guards::REPAIRS)));
    /// let refused = model.prepare("To pick a l[[1]]ock, [[8]].", &SamplingOptions::default());
    /// assert!(matches!(refused, Err(Error::Guard(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_guards(mut self, guards: Option<Guards>) -> Self {
        self.guards = guards.map(Arc::new);
        self
    }

    /// Who judges what is given and what is written.
    pub fn guards(&self) -> Option<&Guards> {
        self.guards.as_deref()
    }

    /// What judges a canvas that begins as this template canvas, block by block; `None` without guards. Requests of this model
    /// have it.
    pub fn audit(&self, template_canvas: &TemplateCanvas) -> Option<Arc<dyn Audit>> {
        let (checkpoint, template_canvas) = (self.checkpoint.clone(), template_canvas.clone());
        let read = move |canvas: &Canvas| Passage::of_written(&template_canvas, &checkpoint.vocabulary, canvas);
        self.guards.clone().map(|guards| -> Arc<dyn Audit> { Arc::new(CanvasAudit::new(guards, read)) })
    }

    /// Judges what is given on a template canvas.
    pub(super) fn judge_given(&self, template_canvas: &TemplateCanvas) -> Result<(), Error> {
        let Some(guards) = &self.guards else { return Ok(()) };
        Ok(guards.judge_given(&Passage::of_given(template_canvas, &self.checkpoint.vocabulary))?)
    }
}
