//! Graphs. Launches and clearings are described by themselves; a product is what the library does in a capture of the
//! stream, which takes nothing else in: a graph within the graph.

use super::{Nvidia, wrong};
use crate::cuda::driver::{Driver, DriverError, Graph, Launch, Work};
use cudarc::driver::{result as cuda, sys};
use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr::from_mut;
use std::sync::PoisonError;

/// What was captured, and the number of the next.
#[derive(Default)]
pub(super) struct Captured {
    graphs: HashMap<Graph, ReadyGraph>,
    next: Graph,
}

/// A graph whose nodes run one after another. The description stays as long as what was made of it: its nodes name those
/// whose arguments change.
struct ReadyGraph {
    description: sys::CUgraph,
    ready: Option<sys::CUgraphExec>,
    /// One for each call.
    nodes: Vec<sys::CUgraphNode>,
}

impl Captured {
    /// Gives all graphs back.
    pub(super) fn clear(&mut self) {
        self.graphs.clear();
    }
}

impl Drop for ReadyGraph {
    fn drop(&mut self) {
        // SAFETY: each was made once and is not used again; one that still runs is freed when it ends. Failures leave the
        // process to end them.
        unsafe {
            if let Some(ready) = self.ready {
                let _ = cuda::graph::exec_destroy(ready);
            }
            let _ = cuda::graph::destroy(self.description);
        }
    }
}

impl Nvidia {
    /// See [`Driver::capture`].
    pub(super) fn capture_graph(&self, work: &[Work]) -> Result<Graph, DriverError> {
        self.enter()?;
        let graph = self.describe(work)?;
        let mut captured = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        let number = captured.next;
        captured.next += 1;
        captured.graphs.insert(number, graph);
        Ok(number)
    }

    /// See [`Driver::replay`].
    pub(super) fn replay_graph(&self, graph: Graph, changed: &[(usize, &Work)]) -> Result<(), DriverError> {
        self.enter()?;
        let captured = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ReadyGraph { ready: Some(ready), nodes, .. }) = captured.graphs.get(&graph) else {
            return Err(wrong("cuGraphLaunch")("no graph of this number"));
        };
        for &(place, call) in changed {
            self.with_launch(call, |launch| {
                // SAFETY: the node is one of what the graph was made of, and a launch of the same kernel; arguments are
                // copied before the call returns, and a replay that still runs keeps its own.
                unsafe { sys::cuGraphExecKernelNodeSetParams_v2(*ready, nodes[place], launch) }
                    .result()
                    .map_err(wrong("cuGraphExecKernelNodeSetParams"))
            })?;
        }
        // SAFETY: graph and stream are there.
        unsafe { cuda::graph::launch(*ready, self.stream) }.map_err(wrong("cuGraphLaunch"))
    }

    /// See [`Driver::release`].
    pub(super) fn release_graph(&self, graph: Graph) {
        if self.enter().is_ok() {
            self.graphs.lock().unwrap_or_else(PoisonError::into_inner).graphs.remove(&graph);
        }
    }

    fn describe(&self, work: &[Work]) -> Result<ReadyGraph, DriverError> {
        let mut description = std::ptr::null_mut();
        // SAFETY: the place is valid for writing; destroyed once, when the graph is dropped.
        unsafe { sys::cuGraphCreate(&mut description, 0) }.result().map_err(wrong("cuGraphCreate"))?;
        let mut graph = ReadyGraph { description, ready: None, nodes: Vec::with_capacity(work.len()) };
        for call in work {
            let before = graph.nodes.last().map_or(&[][..], std::slice::from_ref);
            let node = self.node(description, before, call)?;
            graph.nodes.push(node);
        }
        // SAFETY: the graph is whole, and is destroyed behind what is made of it.
        let ready = unsafe { cuda::graph::instantiate(description, sys::CUgraphInstantiate_flags_enum(0)) };
        graph.ready = Some(ready.map_err(wrong("cuGraphInstantiate"))?);
        Ok(graph)
    }

    /// Adds a call to a graph, behind others.
    fn node(
        &self,
        graph: sys::CUgraph,
        before: &[sys::CUgraphNode],
        call: &Work,
    ) -> Result<sys::CUgraphNode, DriverError> {
        let mut node = std::ptr::null_mut();
        let (first, count) = (before.as_ptr(), before.len());
        match call {
            Work::Launch { .. } => self.with_launch(call, |launch| {
                // SAFETY: graph and nodes are there; the arguments are those that the kernel takes, and are copied before the
                // call returns.
                unsafe { sys::cuGraphAddKernelNode_v2(&mut node, graph, first, count, launch) }
                    .result()
                    .map_err(wrong("cuGraphAddKernelNode"))
            })?,
            &Work::Clear { at, bytes } => {
                let clear = sys::CUDA_MEMSET_NODE_PARAMS {
                    dst: at,
                    pitch: 0,
                    value: 0,
                    elementSize: 1,
                    width: bytes,
                    height: 1,
                };
                // SAFETY: graph and nodes are there; whoever asked for the call has that much memory there.
                unsafe { sys::cuGraphAddMemsetNode(&mut node, graph, first, count, &clear, self.context) }
                    .result()
                    .map_err(wrong("cuGraphAddMemsetNode"))?;
            }
            Work::Multiply(product) => {
                // It is planned, which times algorithms, before the capture begins.
                self.plan_ahead(product)?;
                let captured = self.captured(|| self.multiply(product))?;
                // SAFETY: graph and nodes are there, the captured graph is whole; it is copied.
                let added = unsafe { sys::cuGraphAddChildGraphNode(&mut node, graph, first, count, captured) };
                // SAFETY: made by the capture, and not used again.
                let destroyed = unsafe { cuda::graph::destroy(captured) };
                added.result().map_err(wrong("cuGraphAddChildGraphNode"))?;
                destroyed.map_err(wrong("cuGraphDestroy"))?;
            }
        }
        Ok(node)
    }

    /// What some work puts on the stream, as a graph; none of it runs.
    fn captured(&self, work: impl FnOnce() -> Result<(), DriverError>) -> Result<sys::CUgraph, DriverError> {
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as `self`, and the capture ends below.
        unsafe { cuda::stream::begin_capture(self.stream, mode) }.map_err(wrong("cuStreamBeginCapture"))?;
        let done = work();
        // SAFETY: the capture was begun above.
        let graph = unsafe { cuda::stream::end_capture(self.stream) }.map_err(wrong("cuStreamEndCapture"));
        match (done, graph) {
            (Ok(()), Ok(graph)) if !graph.is_null() => Ok(graph),
            (Ok(()), Ok(_)) => Err(wrong("cuStreamEndCapture")("no graph")),
            (Ok(()), Err(error)) => Err(error),
            (Err(error), graph) => {
                if let Ok(graph) = graph {
                    // SAFETY: made by the capture, and not used again.
                    let _ = unsafe { cuda::graph::destroy(graph) };
                }
                Err(error)
            }
        }
    }

    /// Uses a launch as a graph takes it.
    fn with_launch<R>(
        &self,
        call: &Work,
        use_it: impl FnOnce(&sys::CUDA_KERNEL_NODE_PARAMS) -> Result<R, DriverError>,
    ) -> Result<R, DriverError> {
        let Work::Launch { kernel, launch, arguments } = call else {
            return Err(wrong("cuGraphAddKernelNode")("no launch"));
        };
        let Some(&func) = self.functions.get(kernel) else {
            return Err(wrong("cuGraphAddKernelNode")(format!("there is no `{kernel}`")));
        };
        // As for a launch by itself.
        let mut bits: Vec<u64> = arguments.iter().map(|argument| argument.bits).collect();
        let mut places: Vec<*mut c_void> = bits.iter_mut().map(|bits| from_mut(bits).cast()).collect();
        let &Launch { blocks: (x, y), threads, shared } = launch;
        use_it(&sys::CUDA_KERNEL_NODE_PARAMS {
            func,
            gridDimX: x,
            gridDimY: y,
            gridDimZ: 1,
            blockDimX: threads,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: shared,
            kernelParams: places.as_mut_ptr(),
            extra: std::ptr::null_mut(),
            kern: std::ptr::null_mut(),
            ctx: std::ptr::null_mut(),
        })
    }
}
