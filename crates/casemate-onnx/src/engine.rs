//! Models, by tract.

use std::{collections::BTreeMap, fmt, io::Cursor, sync::Arc};

use tract_onnx::{prelude::*, tract_hir::infer::Factoid};

use crate::{ElementType, ModelError, NamedTensor, TensorSpec};

/// A model that is ready to run and can be shared between threads.
pub struct Model {
    plan: Arc<TypedRunnableModel>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    metadata: BTreeMap<String, String>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("inputs", &self.inputs)
            .finish_non_exhaustive()
    }
}

fn load_error(error: impl fmt::Display) -> ModelError {
    ModelError::Load(format!("{error:#}"))
}

impl Model {
    /// Loads a model from its serialized bytes. Tensors in external files are not read.
    ///
    /// # Errors
    ///
    /// [`ModelError::Load`], [`ModelError::ElementType`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ModelError> {
        let onnx = onnx();
        let proto = onnx
            .proto_model_for_read(&mut Cursor::new(bytes))
            .map_err(load_error)?;
        let metadata = proto
            .metadata_props
            .iter()
            .map(|property| (property.key.clone(), property.value.clone()))
            .collect();
        let model = onnx.parse(&proto, None).map_err(load_error)?.model;
        let (plan, inputs, outputs) = match prepare(model.clone()) {
            Ok(prepared) => prepared,
            // The structure of some models is known only once the batch size is fixed.
            Err(_) => prepare(with_batch_of_one(model)?)?,
        };
        Ok(Self {
            plan,
            inputs,
            outputs,
            metadata,
        })
    }

    /// Returns the inputs of the model.
    pub fn inputs(&self) -> &[TensorSpec] {
        &self.inputs
    }

    /// Returns the outputs of the model.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.outputs
    }

    /// Returns the metadata of the model.
    pub const fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Runs the model on tensors given in any order.
    ///
    /// # Errors
    ///
    /// [`ModelError::Inputs`], [`ModelError::InputType`], [`ModelError::InputShape`],
    /// [`ModelError::Run`].
    pub fn run(&self, tensors: &[NamedTensor]) -> Result<Vec<NamedTensor>, ModelError> {
        let ordered = self.order(tensors)?;
        let values = ordered
            .into_iter()
            .map(|tensor| tensor.to_tract().map(IntoTValue::into_tvalue))
            .collect::<Result<TVec<TValue>, _>>()?;
        let results = self
            .plan
            .run(values)
            .map_err(|error| ModelError::Run(format!("{error:#}")))?;
        self.outputs
            .iter()
            .zip(results)
            .map(|(spec, value)| NamedTensor::from_tract(&spec.name, &value))
            .collect()
    }

    /// Sorts the tensors into the model's order and checks their types and shapes.
    fn order<'a>(&self, tensors: &'a [NamedTensor]) -> Result<Vec<&'a NamedTensor>, ModelError> {
        let wrong_names = || {
            let names: Vec<_> = self.inputs.iter().map(|spec| spec.name.as_str()).collect();
            ModelError::Inputs {
                expected: names.join(", "),
            }
        };
        if tensors.len() != self.inputs.len() {
            return Err(wrong_names());
        }
        self.inputs
            .iter()
            .map(|spec| {
                let tensor = tensors
                    .iter()
                    .find(|tensor| tensor.name == spec.name)
                    .ok_or_else(wrong_names)?;
                spec.check(tensor)?;
                Ok(tensor)
            })
            .collect()
    }
}

type Prepared = (Arc<TypedRunnableModel>, Vec<TensorSpec>, Vec<TensorSpec>);

fn prepare(model: InferenceModel) -> Result<Prepared, ModelError> {
    let typed = model.into_typed().map_err(load_error)?;
    let inputs = specs(&typed, &typed.inputs)?;
    let outputs = specs(&typed, &typed.outputs)?;
    let plan = typed
        .into_optimized()
        .and_then(IntoRunnable::into_runnable)
        .map_err(load_error)?;
    Ok((plan, inputs, outputs))
}

/// Sets every open dimension of the inputs to one.
fn with_batch_of_one(mut model: InferenceModel) -> Result<InferenceModel, ModelError> {
    let open = || ModelError::Load("an input has no known type or rank".to_owned());
    for index in 0..model.inputs.len() {
        let fact = model.input_fact(index).map_err(load_error)?;
        let datum = fact.datum_type.concretize().ok_or_else(open)?;
        if !fact.shape.is_open() {
            let rank = fact.shape.rank().concretize().ok_or_else(open)?;
            let dims = (0..usize::try_from(rank).map_err(load_error)?).map(|axis| {
                let dim = fact.shape.dim(axis).and_then(|dim| dim.concretize());
                dim.and_then(|dim| usize::try_from(dim.to_i64().ok()?).ok())
                    .unwrap_or(1)
            });
            let shape: TVec<usize> = dims.collect();
            let fixed = InferenceFact::dt_shape(datum, shape);
            model.set_input_fact(index, fixed).map_err(load_error)?;
        }
    }
    Ok(model)
}

fn specs(model: &TypedModel, outlets: &[OutletId]) -> Result<Vec<TensorSpec>, ModelError> {
    outlets
        .iter()
        .map(|outlet| {
            let fact = model.outlet_fact(*outlet).map_err(load_error)?;
            let label = model.outlet_label(*outlet).map(str::to_owned);
            let name = match label {
                Some(label) => label,
                None => model.node(outlet.node).name.clone(),
            };
            let element = ElementType::from_tract(fact.datum_type)?;
            let dimension =
                |dim: &TDim| dim.to_i64().ok().and_then(|dim| usize::try_from(dim).ok());
            Ok(TensorSpec {
                name,
                element,
                shape: fact.shape.iter().map(dimension).collect(),
            })
        })
        .collect()
}
