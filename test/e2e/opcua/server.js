// An OPC UA server for the tests: node-opcua, told what to be by one JSON
// argument and what to do by JSON lines on standard input. It answers each with
// one JSON line, and says {"ready":true} first.
"use strict";
const path = require("path");
const { createRequire } = require("module");
const readline = require("readline");
const load = createRequire(path.join(process.env.NODE_OPCUA, "package.json"));
const {
  OPCUAServer, OPCUACertificateManager, MessageSecurityMode, SecurityPolicy, Variant, DataType,
  StatusCodes, DataValue, VariantArrayType,
} = load("node-opcua");

const o = JSON.parse(process.argv[2]);
const say = (x) => process.stdout.write(JSON.stringify(x) + "\n");

async function main() {
  const manager = (name) => new OPCUACertificateManager({ automaticallyAcceptUnknownCertificate: true, rootFolder: path.join(o.dir, name) });
  const serverCertificateManager = manager("pki");
  const userCertificateManager = manager("user-pki");
  await serverCertificateManager.initialize();
  await userCertificateManager.initialize();
  const server = new OPCUAServer({
    port: o.port,
    hostname: "127.0.0.1",
    resourcePath: "/test",
    serverInfo: { applicationUri: o.uri },
    certificateFile: o.certificate,
    privateKeyFile: o.key,
    serverCertificateManager,
    userCertificateManager,
    securityPolicies: (o.policies || ["None"]).map((p) => SecurityPolicy[p]),
    securityModes: (o.modes || ["None"]).map((m) => MessageSecurityMode[m]),
    allowAnonymous: o.anonymous !== false,
    isAuditing: false,
    disableDiscovery: false,
    maxConnectionsPerEndpoint: 50,
    serverCapabilities: { maxSessions: o.sessions || 20, operationLimits: o.limits || {} },
    userManager: { isValidUser: (user, password) => user === "operator" && password === "pa:ss" },
    buildInfo: { productName: "test", buildNumber: "1", buildDate: new Date(2026, 0, 1) },
  });
  await server.initialize();
  const space = server.engine.addressSpace;
  for (const uri of o.before || []) { // others with the same names and other values
    const decoy = space.registerNamespace(uri);
    for (let i = 0; i < (o.items || 0); i++) {
      const v = decoy.addVariable({ organizedBy: space.rootFolder.objects, browseName: "I" + i, nodeId: "s=I" + i, dataType: DataType.Double });
      v.setValueFromSource(new Variant({ dataType: DataType.Double, value: 7000 + i }));
    }
  }
  const ns = space.registerNamespace("urn:test:plant");
  const plant = ns.addObject({ organizedBy: space.rootFolder.objects, browseName: "Plant", nodeId: "s=Plant", eventNotifier: 1 });
  const tank = ns.addObject({ componentOf: plant, browseName: "Tank", nodeId: "s=Tank", eventSourceOf: space.rootFolder.objects.server, eventNotifier: 1 });
  const points = new Map();
  const add = (name, dataType, value, more) => {
    const v = ns.addVariable({ componentOf: plant, browseName: name, nodeId: "s=" + name, dataType, minimumSamplingInterval: 10, ...more });
    v.setValueFromSource(new Variant({ dataType, arrayType: more && more.valueRank === 1 ? VariantArrayType.Array : VariantArrayType.Scalar, value }));
    points.set(name, v);
    return v;
  };
  add("Bool", DataType.Boolean, true);
  add("Int16", DataType.Int16, -5);
  add("UInt32", DataType.UInt32, 4000000000);
  add("Int64", DataType.Int64, [0, 7]);
  add("Float", DataType.Float, 1.5);
  add("Double", DataType.Double, 20.25);
  add("Text", DataType.String, "running");
  add("NaN", DataType.Double, NaN);
  add("Bad", DataType.Double, 1);
  points.get("Bad").setValueFromSource(new Variant({ dataType: DataType.Double, value: 1 }), StatusCodes.BadSensorFailure);
  add("Uncertain", DataType.Double, 3);
  points.get("Uncertain").setValueFromSource(new Variant({ dataType: DataType.Double, value: 3 }), StatusCodes.UncertainLastUsableValue);
  add("Array", DataType.Double, [1, 2, 3], { valueRank: 1, arrayDimensions: [3] });
  add("Setpoint", DataType.Float, 10);
  add("ReadOnly", DataType.Float, 10, { accessLevel: "CurrentRead", userAccessLevel: "CurrentRead" });
  // It takes its time to be written: which values came, and how many at once.
  const slow = { value: 0, came: [], now: 0, most: 0 };
  ns.addVariable({
    componentOf: plant, browseName: "Slow", nodeId: "s=Slow", dataType: DataType.Double,
    value: {
      timestamped_get: () => new DataValue({ value: new Variant({ dataType: DataType.Double, value: slow.value }) }),
      timestamped_set: (value, callback) => {
        slow.came.push(value.value.value);
        slow.most = Math.max(slow.most, ++slow.now);
        setTimeout(() => { slow.now--; slow.value = value.value.value; callback(null, StatusCodes.Good); }, 600);
      },
    },
  });
  for (let i = 0; i < (o.items || 0); i++) add("I" + i, DataType.Double, i);
  const level = add("Level", DataType.Double, 50);
  if (o.alarm) {
    space.installAlarmsAndConditionsService();
    ns.instantiateNonExclusiveLimitAlarm("NonExclusiveLimitAlarmType", {
      browseName: "LevelAlarm", conditionSource: tank, conditionName: "level", inputNode: level, componentOf: tank, conditionOf: tank,
      optionals: ["ConfirmedState", "Confirm"], highHighLimit: 90, highLimit: 80, lowLimit: 20, lowLowLimit: 10,
    });
  }
  await server.start();
  say({ ready: true, port: o.port });
  readline.createInterface({ input: process.stdin }).on("line", async (line) => {
    const c = JSON.parse(line);
    try {
      switch (c.do) {
        case "set": {
          const v = points.get(c.name);
          for (const [i, value] of c.values.entries()) {
            // Paced by this process: when the machine is busy, its sampling waits with it.
            if (i > 0 && c.pace) await new Promise((go) => setTimeout(go, c.pace));
            v.setValueFromSource(new Variant({ dataType: v.readValue().value.dataType, value }), c.status ? StatusCodes[c.status] : StatusCodes.Good);
          }
          return say({ done: c.do });
        }
        case "touch": { // every item a new value
          for (let i = 0; i < o.items; i++) points.get("I" + i).setValueFromSource(new Variant({ dataType: DataType.Double, value: c.base + i }));
          return say({ done: c.do });
        }
        case "get":
          return say({ value: points.get(c.name).readValue().value.value });
        case "slow":
          return say(slow);
        case "sessions":
          return say({ sessions: server.engine.currentSessionCount, subscriptions: server.engine.currentSubscriptionCount });
        case "drop-subscriptions": // silently: no status change is sent
          for (const x of Object.values(server.engine._sessions)) {
            for (const sub of [...x.publishEngine.subscriptions]) { sub.terminate(); }
          }
          return say({ done: c.do });
        case "mute": // reads are answered, nothing is published
          for (const x of Object.values(server.engine._sessions)) {
            x.publishEngine._on_PublishRequest = () => {};
            x.publishEngine._publish_request_queue.length = 0;
          }
          return say({ done: c.do });
        case "close-sessions":
          for (const x of Object.values(server.engine._sessions)) server.engine.closeSession(x.authenticationToken, true, "Forcing");
          return say({ done: c.do });
        case "quit":
          await server.shutdown(10);
          say({ done: c.do });
          return process.exit(0);
      }
      say({ error: "what is " + c.do });
    } catch (e) {
      say({ error: String(e && e.stack || e) });
    }
  }).on("close", () => process.exit(0));
}

main().catch((e) => { say({ error: String(e && e.stack || e) }); process.exit(1); });
