"""The client: training as in any Flower app, and one line for secure aggregation."""

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

import casemate.flower

from . import task

app = ClientApp(mods=[casemate.flower.SecureAggregation()])


@app.train()
def train(message: Message, context: Context) -> Message:
    weights, examples = task.train(message.content["arrays"]["weights"].numpy(), int(context.node_config["partition-id"]))
    arrays = ArrayRecord({"weights": Array(weights)})
    metrics = MetricRecord({"num-examples": examples})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
