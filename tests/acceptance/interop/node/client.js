// A client that has nothing of Hundredfold but proto/, which it loads at run time.
//
//     node client.js PROTO_DIRECTORY ADDRESS REQUEST_ID
//
// Prints what it saw, as JSON; test_interop.py says what that must be.
'use strict';

const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const health = require('grpc-health-check');

const [proto, address, requestId] = process.argv.slice(2);
const options = {
  includeDirs: [proto],
  longs: String, // a uint64 may not fit into a number
  enums: String,
  defaults: true,
  oneofs: true,
  json: true, // unpacks google.protobuf.Any
};
const definition = loader.loadSync(
  [
    'hundredfold/v1/task_service.proto',
    'hundredfold/v1/coordinator_service.proto',
    'google/rpc/status.proto',
    'google/rpc/error_details.proto', // what an error's Any can hold
  ],
  options,
);
const { TaskService, CoordinatorService } = grpc.loadPackageDefinition(definition).hundredfold.v1;
const { Health } = grpc.loadPackageDefinition(loader.loadSync(health.protoPath, options)).grpc.health.v1;

const deadline = () => ({ deadline: Date.now() + 20_000 });

function call(client, method, request) {
  return new Promise((resolve, reject) =>
    client[method](request, deadline(), (error, answer) => (error ? reject(error) : resolve(answer))),
  );
}

function submission(spec, id) {
  const { input, ...rest } = spec;
  return { spec: { ...rest, input: { data: Buffer.from(JSON.stringify(input)) } }, requestId: id };
}

async function watch(tasks, taskId) {
  const events = [];
  for await (const message of tasks.watchTask({ taskId, afterSequence: 0 }, deadline())) {
    events.push(...message.events.map(describe));
  }
  return events;
}

function describe(event) {
  const what = event.kind === 'stateChange' ? event.stateChange.state : JSON.parse(event.emitted.payload.data);
  return { sequence: Number(event.sequence), what };
}

async function refusal(tasks, spec) {
  try {
    await call(tasks, 'submitTask', submission(spec));
  } catch (error) {
    return explain(error);
  }
  throw new Error(`${JSON.stringify(spec)} was accepted`);
}

function explain(error) {
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  if (!bytes) throw error; // it says no more than its code
  const status = definition['google.rpc.Status'].deserialize(bytes);
  const detail = (name) => status.details.find((any) => any['@type'].endsWith(`/google.rpc.${name}`));
  const { reason, domain, metadata } = detail('ErrorInfo');
  const violations = detail('BadRequest')?.fieldViolations ?? [];
  return {
    code: grpc.status[status.code],
    message: status.message,
    reason,
    domain,
    metadata,
    fields: violations.map((violation) => violation.field),
  };
}

async function main() {
  const credentials = grpc.credentials.createInsecure();
  const [tasks, coordinator, checks] = [TaskService, CoordinatorService, Health].map(
    (Client) => new Client(address, credentials),
  );
  const greet = submission({ behaviour: 'greet', input: { name: 'Ada', times: 3 } }, requestId);
  const { task: first } = await call(tasks, 'submitTask', greet);
  const { task: second } = await call(tasks, 'submitTask', greet);
  const events = await watch(tasks, first.id);
  const { task } = await call(tasks, 'getTask', { taskId: first.id });
  const { behaviours } = await call(coordinator, 'listBehaviours', {});
  const { status } = await call(checks, 'check', { service: 'hundredfold.v1.TaskService' });
  return {
    submitted: [first.id, second.id],
    events,
    task: { id: task.id, state: task.state, lastSequence: Number(task.lastSequence) },
    result: JSON.parse(task.result.data),
    behaviours: behaviours.map(({ name }) => name),
    unknownBehaviour: await refusal(tasks, { behaviour: 'gret', input: {} }),
    invalidInput: await refusal(tasks, { behaviour: 'greet', input: { name: 'Ada', times: 'often' } }),
    health: status,
  };
}

main().then(
  (seen) => console.log(JSON.stringify(seen)),
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);
