import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runCommand, tryCommand } from "../../../scripts/run-command.ts";
import { FOLDERS, NODE } from "./layout.ts";

const MACHINE_END = "sc-host";
const NODE_END = "sc-node";

/** Makes the node's network namespace and the wire to it; pods, services and the API server are then reachable from the machine. */
export async function createNetwork(): Promise<void> {
  if (!existsSync("/proc/sys/net/bridge")) await tryCommand(["modprobe", "br_netfilter"]);
  const { network } = NODE;
  const inside = ["ip", "-n", network];
  const commands = [
    ["ip", "netns", "add", network],
    ["ip", "link", "add", MACHINE_END, "type", "veth", "peer", "name", NODE_END, "netns", network],
    ["ip", "address", "add", `${NODE.machineAddress}/30`, "dev", MACHINE_END],
    ["ip", "link", "set", MACHINE_END, "up"],
    [...inside, "address", "add", `${NODE.address}/30`, "dev", NODE_END],
    [...inside, "link", "set", NODE_END, "up"],
    [...inside, "link", "set", "lo", "up"],
    [...inside, "address", "add", `${NODE.metadataAddress}/32`, "dev", "lo"],
    // Nothing leaves the machine: a pod's call outside fails at once instead of hanging.
    [...inside, "route", "add", "unreachable", "default"],
    // A process of the node itself needs a route before kube-proxy can translate a service's address.
    [...inside, "route", "add", NODE.serviceRange, "via", NODE.machineAddress],
    ["ip", "route", "add", NODE.podRange, "via", NODE.address],
    ["ip", "route", "add", NODE.serviceRange, "via", NODE.address],
  ];
  for (const command of commands) await runCommand(command);
  const settings = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables";
  await runCommand(["nsenter", `--net=/run/netns/${network}`, "sh", "-ec", settings]);
}

/** Removes namespace and wire, whatever is left of them. The namespace can outlive its name, hence the wire by itself. */
export async function removeNetwork(): Promise<void> {
  if (existsSync(`/run/netns/${NODE.network}`)) await tryCommand(["ip", "netns", "delete", NODE.network]);
  if (existsSync(`/sys/class/net/${MACHINE_END}`)) await tryCommand(["ip", "link", "delete", MACHINE_END]);
}

/** How a pod gets its address: a bridge of the node, with host ports. */
export function writePodNetwork(): string {
  const folder = join(FOLDERS.config, "cni");
  const bridge = {
    type: "bridge",
    bridge: "sc-pods",
    isGateway: true,
    hairpinMode: true,
    ipam: {
      type: "host-local",
      ranges: [[{ subnet: NODE.podRange }]],
      routes: [{ dst: "0.0.0.0/0" }],
      dataDir: join(FOLDERS.state, "addresses"),
    },
  };
  const portmap = { type: "portmap", capabilities: { portMappings: true } };
  const list = { cniVersion: "1.0.0", name: NODE.network, plugins: [bridge, portmap] };
  writeFileSync(join(folder, "10-supercargo.conflist"), JSON.stringify(list));
  return folder;
}
