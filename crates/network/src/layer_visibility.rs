//! What each layer sees: what the layout shows, within the layer's window.

use crate::{NetworkError, NetworkSpec};
use aquatint_compute::{Device, Visibility};
use std::borrow::Cow;
use std::cmp::Reverse;

/// A visibility for each distinct window of a network's layers.
#[derive(Debug)]
pub(crate) struct LayerVisibility<'a> {
    /// From the widest to the narrowest.
    distinct: Vec<Cow<'a, Visibility>>,
    /// Which of them each layer has.
    of_layer: Vec<usize>,
}

/// The same on the device: each uploaded once for a pass.
#[derive(Debug)]
pub(crate) struct LayerVisible<D: Device> {
    distinct: Vec<D::Visible>,
    of_layer: Vec<usize>,
}

impl<'a> LayerVisibility<'a> {
    /// `positions` are those of the rows of `visibility`, `[T]`, and `current` says which of these are of a current block,
    /// where windows are counted from there. The network has a layer or more.
    ///
    /// # Errors
    /// When a window does not fit the positions, see [`Visibility::windowed`].
    pub(crate) fn new(
        spec: &NetworkSpec,
        visibility: &'a Visibility,
        positions: &[u32],
        current: Option<&[bool]>,
    ) -> Result<Self, NetworkError> {
        let current = current.filter(|_| spec.block_windows);
        let windows = || spec.layers.iter().map(|layer| layer.attention.window);
        let mut sorted: Vec<Option<usize>> = windows().collect();
        sorted.sort_by_key(|window| Reverse((window.is_none(), *window)));
        sorted.dedup();
        let of_layer = windows().filter_map(|window| sorted.iter().position(|other| *other == window)).collect();
        let within = |window: Option<usize>| match window {
            None => Ok(Cow::Borrowed(visibility)),
            Some(window) => Ok(Cow::Owned(match current {
                Some(current) => visibility.windowed_blocks(window, positions, current)?,
                None => visibility.windowed(window, positions)?,
            })),
        };
        let distinct = sorted.into_iter().map(within).collect::<Result<Vec<_>, NetworkError>>()?;
        Ok(Self { distinct, of_layer })
    }

    /// What some layer sees: windows are nested, so it is what the layer of the widest sees.
    pub(crate) fn widest(&self) -> &Visibility {
        &self.distinct[0]
    }

    /// What a layer sees.
    pub(crate) fn of(&self, layer: usize) -> &Visibility {
        &self.distinct[self.of_layer[layer]]
    }

    /// All of them on the device, by `upload`.
    ///
    /// # Errors
    /// When `upload` fails.
    pub(crate) fn upload<D: Device>(
        &self,
        upload: impl Fn(&Visibility) -> Result<D::Visible, NetworkError>,
    ) -> Result<LayerVisible<D>, NetworkError> {
        let distinct = self.distinct.iter().map(|visibility| upload(visibility)).collect::<Result<Vec<_>, _>>()?;
        Ok(LayerVisible { distinct, of_layer: self.of_layer.clone() })
    }
}

impl<D: Device> LayerVisible<D> {
    /// What a layer sees.
    pub(crate) fn of(&self, layer: usize) -> &D::Visible {
        &self.distinct[self.of_layer[layer]]
    }
}
