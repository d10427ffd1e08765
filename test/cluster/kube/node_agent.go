package main

import (
	"flag"
	"os"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	genericapiserver "k8s.io/apiserver/pkg/server"
)

// runNodeAgent does what Kubernetes leaves to add-ons on each node: enforces NetworkPolicy and recycles volumes.
func runNodeAgent() int {
	flags := flag.NewFlagSet("node-agent", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "path of the kubeconfig")
	node := flags.String("node", "", "name of this node")
	services := flags.String("service-cidr", "", "range of the services' addresses")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return 2
	}
	stop := genericapiserver.SetupSignalHandler()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.ErrorS(err, "Cannot read the kubeconfig")
		return 1
	}
	config.QPS, config.Burst = 50, 100
	client := kubernetes.NewForConfigOrDie(config)
	factory := informers.NewSharedInformerFactory(client, 0)
	var done sync.WaitGroup
	// The node may not have registered yet when this starts.
	err = wait.PollUntilContextTimeout(wait.ContextForChannel(stop), 200*time.Millisecond, 2*time.Minute, true,
		nodeExists(client, *node))
	if err == nil {
		err = startPolicies(client, factory, policyOptions{node: *node, serviceCIDR: *services}, stop, &done)
	}
	if err == nil {
		err = startVolumes(client, factory)
	}
	if err != nil {
		klog.ErrorS(err, "Cannot start")
		return 1
	}
	factory.Start(stop)
	<-stop
	done.Wait()
	return 0
}
