//! Guidance by a classifier on the model of molecules: towards few rings, with the grammar and without.

use aquatint::{ClassifierMethod, ClassifierOptions, ConstraintSpec, Model, SamplingOptions};
use std::ops::ControlFlow;
use std::path::Path;

fn model() -> Model {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/molecules");
    Model::open(folder.to_str().unwrap()).unwrap()
}

/// What the model writes behind the properties that are given, over some seeds.
fn molecules(
    model: &Model,
    template: &str,
    classifier: &ClassifierOptions,
    constraint: Option<ConstraintSpec>,
) -> Vec<String> {
    let of = |seed| {
        let options = SamplingOptions {
            temperature: Some(1.0),
            seed: Some(seed),
            classifier: classifier.clone(),
            constraint: constraint.clone(),
            ..SamplingOptions::default()
        };
        let prepared = model.prepare(template, &options).unwrap();
        assert!(prepared.ineffective.is_empty(), "{:?}", prepared.ineffective);
        let outcome =
            model.watch(&prepared.template_canvas, &prepared.settings, &mut |_| ControlFlow::Continue(())).unwrap();
        let text = model.text(&prepared.template_canvas, &outcome);
        let molecule = text.strip_prefix("[RINGS=1]").unwrap_or(&text);
        assert!(!molecule.is_empty());
        molecule.to_owned()
    };
    (0..8).map(of).collect()
}

/// Bonds that close a ring; a ring is opened and closed by a digit.
fn rings(molecules: &[String]) -> usize {
    molecules.iter().map(|molecule| molecule.chars().filter(char::is_ascii_digit).count() / 2).sum()
}

#[test]
fn molecules_have_the_rings_that_are_aimed_at() {
    let model = model();
    let target = || Some("[RINGS=1]".to_owned());
    let exact = ClassifierOptions { target: target(), scale: Some(4.0), candidates: Some(4), ..Default::default() };
    let none = ClassifierOptions::default();
    for constraint in [None, Some(ConstraintSpec::Molecule)] {
        let any = rings(&molecules(&model, "[[~51]]", &none, constraint.clone()));
        let aimed = rings(&molecules(&model, "[RINGS=1][[~50]]", &exact, constraint.clone()));
        assert!(2 * aimed < any, "{constraint:?}: {aimed} and {any}");
    }
}

#[test]
fn to_first_order_other_molecules_are_written_than_exactly_and_than_without_a_classifier() {
    let model = model();
    let guided = |method| {
        let (target, scale) = (Some("[RINGS=1]".to_owned()), Some(8.0));
        let classifier = ClassifierOptions { target, scale, method: Some(method), ..Default::default() };
        molecules(&model, "[RINGS=1][[~20]]", &classifier, None)
    };
    let first_order = guided(ClassifierMethod::FirstOrder);
    assert_eq!(first_order, guided(ClassifierMethod::FirstOrder));
    assert_ne!(first_order, guided(ClassifierMethod::Exact));
    assert_ne!(first_order, molecules(&model, "[RINGS=1][[~20]]", &ClassifierOptions::default(), None));
}

#[test]
fn what_is_requested_of_no_target_is_reported_and_a_target_that_is_not_given_is_refused() {
    let (model, first_order) = (model(), Some(ClassifierMethod::FirstOrder));
    let options = |classifier| SamplingOptions { classifier, ..SamplingOptions::default() };
    let none = ClassifierOptions { scale: Some(2.0), candidates: Some(3), method: first_order, ..Default::default() };
    let prepared = model.prepare("[[~9]]", &options(none)).unwrap();
    let unused: Vec<&str> = prepared.ineffective.iter().map(|setting| setting.parameter).collect();
    assert_eq!(unused, ["classifier_scale", "classifier_method", "classifier_candidates"]);
    for (template, target) in [("[[~9]]", "[RINGS=1]"), ("[RINGS=2][[~9]]", "[RINGS=1]"), ("[RINGS=1][[~9]]", "")] {
        let classifier = ClassifierOptions { target: Some(target.to_owned()), ..ClassifierOptions::default() };
        let error = model.prepare(template, &options(classifier)).unwrap_err().to_string();
        assert!(error.starts_with("`classifier_target` is "), "{error}");
    }
}
