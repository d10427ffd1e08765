package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// localClass is the StorageClass whose volumes are recycled.
const localClass = "local"

// startVolumes makes a local PersistentVolume usable again once its claim is gone: empties its folder, then clears
// the claim. Kubernetes itself leaves such a volume Released for ever.
func startVolumes(client kubernetes.Interface, factory informers.SharedInformerFactory) error {
	recycle := func(object any) {
		volume, ok := object.(*corev1.PersistentVolume)
		if !ok || volume.Spec.StorageClassName != localClass || volume.Status.Phase != corev1.VolumeReleased {
			return
		}
		if err := recycleVolume(client, volume); err != nil {
			klog.ErrorS(err, "Cannot recycle", "volume", volume.Name)
		}
	}
	_, err := factory.Core().V1().PersistentVolumes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    recycle,
		UpdateFunc: func(_, updated any) { recycle(updated) },
	})
	return err
}

func recycleVolume(client kubernetes.Interface, volume *corev1.PersistentVolume) error {
	if volume.Spec.Local == nil || volume.Spec.ClaimRef == nil {
		return nil
	}
	if err := emptyFolder(volume.Spec.Local.Path); err != nil {
		return err
	}
	// The resourceVersion makes the patch fail if the volume changed since; the change brings it here again.
	patch := fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"spec":{"claimRef":null}}`, volume.ResourceVersion)
	_, err := client.CoreV1().PersistentVolumes().Patch(context.Background(), volume.Name, types.MergePatchType,
		[]byte(patch), metav1.PatchOptions{})
	if err == nil {
		klog.InfoS("Recycled", "volume", volume.Name)
	}
	return err
}

func emptyFolder(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(folder, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
