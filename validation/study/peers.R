# glmGamPoi, edgeR and DESeq2 as their vignettes use them, on several data sets in one process.
#   Rscript peers.R PEER FOLDER...     each with case.txt, counts.bin, obs.csv, design.csv; writes PEER.csv there
a <- commandArgs(TRUE)
peer <- a[1]
suppressMessages(suppressWarnings(library(peer, character.only = TRUE)))
for (folder in a[-1]) {
  about <- read.dcf(file.path(folder, "case.txt"))[1, ]
  n_samples <- as.integer(about[["n_samples"]])
  n_genes <- as.integer(about[["n_genes"]])
  counts <- readBin(file.path(folder, "counts.bin"), "integer", n_samples * n_genes, size = 4)
  Y <- matrix(counts, n_genes, n_samples, dimnames = list(paste0("g", seq_len(n_genes) - 1), NULL))
  obs <- read.csv(file.path(folder, "obs.csv"), row.names = 1)
  colnames(Y) <- rownames(obs)
  X <- as.matrix(read.csv(file.path(folder, "design.csv"), check.names = FALSE))
  k <- as.numeric(seq_len(ncol(X)) == ncol(X))
  colnames(X) <- make.names(colnames(X))
  rownames(X) <- rownames(obs)
  start <- proc.time()[["elapsed"]]
  found <- tryCatch(suppressMessages(suppressWarnings(switch(peer,
    glmGamPoi = {
      test <- test_de(glm_gp(Y, design = X, size_factors = "normed_sum"), contrast = k)
      data.frame(pval = test$pval, lfc = test$lfc)
    },
    edgeR = {
      y <- estimateDisp(calcNormFactors(DGEList(Y)), X)
      test <- glmQLFTest(glmQLFit(y, X), contrast = k)$table
      data.frame(pval = test$PValue, lfc = test$logFC)
    },
    DESeq2 = {
      test <- results(DESeq(DESeqDataSetFromMatrix(Y, obs, X), quiet = TRUE), contrast = k)
      half <- qnorm(0.975) * test$lfcSE
      data.frame(pval = test$pvalue, lfc = test$log2FoldChange,
                 low = test$log2FoldChange - half, high = test$log2FoldChange + half)
    }
  ))), error = function(e) NULL)
  if (!is.null(found)) {
    found$seconds <- proc.time()[["elapsed"]] - start
    write.csv(found, file.path(folder, paste0(peer, ".csv")), row.names = FALSE)
  }
}
cat(paste(peer, packageVersion(peer)))
