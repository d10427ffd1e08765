package main

import (
	"context"
	"sync"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

type policyOptions struct {
	node        string
	serviceCIDR string
}

// startPolicies enforces NetworkPolicy with the controller of kube-router (iptables and ipset); nothing else of
// kube-router is linked.
func startPolicies(client kubernetes.Interface, factory informers.SharedInformerFactory, wanted policyOptions,
	stop <-chan struct{}, done *sync.WaitGroup) error {
	config := options.NewKubeRouterConfig()
	config.HostnameOverride = wanted.node
	config.ClusterIPCIDRs = []string{wanted.serviceCIDR}
	config.EnableIPv4 = true
	config.MetricsEnabled = false

	iptables, ipsets, err := netpol.NewIPTablesHandlers(config)
	if err != nil {
		return err
	}
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()
	controller, err := netpol.NewNetworkPolicyController(client, config, pods, policies, namespaces, &sync.Mutex{},
		iptables, ipsets)
	if err != nil {
		return err
	}
	handlers := map[cache.SharedIndexInformer]cache.ResourceEventHandler{
		pods: controller.PodEventHandler, namespaces: controller.NamespaceEventHandler, policies: controller.NetworkPolicyEventHandler,
	}
	for informer, handler := range handlers {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return err
		}
	}
	heartbeats := make(chan *healthcheck.ControllerHeartbeat, 10)
	go drain(heartbeats, stop)
	done.Add(1)
	go func() {
		// A first pass over empty caches would briefly open every pod.
		cache.WaitForCacheSync(stop, pods.HasSynced, namespaces.HasSynced, policies.HasSynced)
		controller.Run(heartbeats, stop, done)
	}()
	return nil
}

// drain keeps the controller from blocking on heartbeats that nobody reads.
func drain(heartbeats <-chan *healthcheck.ControllerHeartbeat, stop <-chan struct{}) {
	for {
		select {
		case <-heartbeats:
		case <-stop:
			return
		}
	}
}

func nodeExists(client kubernetes.Interface, name string) wait.ConditionWithContextFunc {
	return func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		return err == nil, nil
	}
}
